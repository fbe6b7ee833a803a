"""Slash commands of the chat. What they print goes to stderr: stdout is for answers."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from memagent.cli.common import note, one_line
from memagent.errors import InputError
from memagent.usage import Usage

if TYPE_CHECKING:
    from memagent.agent import Answer
    from memagent.cli.chat import Talk
    from memagent.memory.base import Memory

COMMANDS = {
    "help": "this list",
    "exit": "leave",
    "new": "start a new session",
    "model": "NAME: go on with another model",
    "memory": "[show | search Q | add T | edit ID T | forget ID | undo | audit]",
    "budget": "N: most tokens of a recalled view",
    "image": "[save PATH]: the picture that the reader saw",
    "why": "what shaped the last answer",
    "tokens": "tokens of the last turn",
    "usage": "tokens of this chat",
    "sessions": "list sessions",
    "save": "PATH: save this session as text",
    "export": "PATH: write the whole memory as JSONL",
    "retry": "ask the last question again",
    "edit": "TEXT: ask this in place of the last question",
    "multi": "read lines until one that is /end",
    "debug": "the prompt's memory, as the model saw it",
}


class Slash:
    """Handles lines that begin with a slash; `done` is set when the user wants to leave."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.done = False
        self.question: str | None = None
        self.answer: Answer | None = None
        self.total = Usage()
        self._lines: list[str] | None = None

    def keep(self, question: str, answer: Answer) -> None:
        """Remember a turn for the commands that look back."""
        self.question, self.answer = question, answer
        self.total = self.total + answer.usage

    def handle(self, line: str) -> str | None:
        """What to say to the model, or None when the line was a command, empty, or one of several to come."""
        if self._lines is not None:
            return self._collected(line)
        if not line.startswith("/"):
            return line if line.strip() else None
        if line.startswith("//"):
            return line[1:]
        name, _, rest = line[1:].strip().partition(" ")
        if name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean /{near[0]}?" if near else "/help lists them."
            note(f"there is no /{name}; {hint} (a line that must start with a slash: //...)")
            return None
        said = getattr(self, f"_{name}")(rest.strip())
        return said if isinstance(said, str) else None

    def _collected(self, line: str) -> str | None:
        assert self._lines is not None
        if line.strip() != "/end":
            self._lines.append(line)
            return None
        text, self._lines = "\n".join(self._lines), None
        return text if text.strip() else None

    @property
    def _store_memory(self) -> Memory:
        if self.talk.agent.memory is None:
            raise InputError("this chat has no memory (--no-memory)")
        return self.talk.agent.memory

    @property
    def _last(self) -> Answer:
        if self.answer is None:
            raise InputError("nothing was answered yet")
        return self.answer

    def _help(self, _: str) -> None:
        for name, text in COMMANDS.items():
            note(f"/{name:9} {text}")

    def _exit(self, _: str) -> None:
        self.done = True

    def _new(self, rest: str) -> None:
        from memagent.cli.chat import _session

        memory = self._store_memory
        self._switch(memory, rest or _session(self.talk.store, memory.user, False))

    def _switch(self, memory: Memory, session: str) -> None:
        memory.session = session
        self.talk.agent.forget_turns()
        note(f"session {session}")

    def _model(self, rest: str) -> None:
        from memagent.models.registry import load_model

        if not rest:
            note(self.talk.agent.model.name)
            return
        self.talk.agent.use_model(load_model(rest))
        note(f"going on with {self.talk.agent.model.name}")

    def _memory(self, rest: str) -> None:
        memory = self._store_memory
        verb, _, text = (rest or "show").partition(" ")
        if verb == "show":
            for item in memory.items(newest_first=True, limit=20)[::-1]:
                note(f"{item.id:8} {one_line(item.text)}")
        elif verb == "search":
            for found in memory.search(text):
                note(f"{found.item.id:8} {found.score:6.2f} {one_line(found.item.text)}")
        elif verb == "add":
            note(f"added {memory.add(text).ids[0]}")
        elif verb == "edit":
            name, _, new = text.partition(" ")
            memory.edit(name, new)
            note(f"changed {name}; /memory undo takes it back")
        elif verb == "forget":
            memory.forget(text)
            note(f"forgot {text}; /memory undo brings it back")
        elif verb == "undo":
            outcome = memory.undo().outcomes[0]
            note(f"{outcome.action} {outcome.id}")
        elif verb == "audit":
            for finding in memory.audit():
                note(f"{finding.id:8} {finding.problem}: {finding.detail}")
        else:
            note(f"/memory {COMMANDS['memory']}")

    def _budget(self, rest: str) -> None:
        from renderers.reader import Budget

        if rest:
            if not rest.lstrip("-").isdigit():
                raise InputError(f"a budget is a number of tokens, not {rest!r}")
            self.talk.agent.budget = Budget(int(rest), self.talk.agent.model.reader)
        note(f"budget {self.talk.agent.budget.tokens} tokens")

    def _image(self, rest: str) -> None:
        recall = self._last.recall
        if recall is None or recall.picture is None:
            note("the last answer was read from text; --memory memocr draws pictures")
            return
        memory = self._store_memory
        path = Path(rest.removeprefix("save").strip() or memory.store.picture_folder(memory.user) / "last-view.png")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(recall.picture.png)
        note(f"{path} ({recall.picture.width}x{recall.picture.height} px, {recall.cost} visual tokens)")

    def _why(self, _: str) -> None:
        recall = self._last.recall
        for source in recall.sources if recall else ():
            score = "" if source.score is None else f"{source.score:6.2f}"
            note(f"{source.id:8} {score} {one_line(source.text)}")
        if recall is None or not recall.sources:
            note("no memory was shown")

    def _tokens(self, _: str) -> None:
        recall, usage = self._last.recall, self._last.usage
        view = f"; view {recall.cost} of {recall.budget}" if recall else ""
        note(f"in {usage.text_in}, out {usage.text_out}, visual {usage.visual}{view}")

    def _usage(self, _: str) -> None:
        total = self.total
        note(f"{total.calls} calls, in {total.text_in}, out {total.text_out}, visual {total.visual}, {total.seconds:.1f} s")

    def _sessions(self, _: str) -> None:
        for one in self.talk.store.sessions(self._store_memory.user):
            note(f"{one.name:20} {one.messages:5}  {one_line(one.title)}")

    def _save(self, rest: str) -> None:
        memory = self._store_memory
        path = Path(rest or f"{memory.session}.txt")
        lines = [f"{message.role}: {message.text}" for message in memory.messages(session=memory.session)]
        path.write_text("\n\n".join(lines) + "\n", "utf-8")
        note(f"saved {path}")

    def _export(self, rest: str) -> None:
        path = Path(rest or "memory.jsonl")
        note(f"wrote {self._store_memory.export(path)} messages to {path}")

    def _retry(self, _: str) -> str:
        if self.question is None:
            raise InputError("nothing was asked yet")
        return self.question

    def _edit(self, rest: str) -> str | None:
        if not rest:
            note(f"/edit TEXT asks TEXT; the last question was: {self.question or 'none'}")
            return None
        return rest

    def _multi(self, _: str) -> None:
        self._lines = []
        note("several lines; /end on a line of its own sends them")

    def _debug(self, _: str) -> None:
        recall = self._last.recall
        note(str(recall.text if recall and recall.text is not None else recall and "(a picture: /image)"))
