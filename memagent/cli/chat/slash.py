"""Slash commands of the chat. They print to stderr: stdout is for answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from memagent.cli.chat.session import ChatSession, new_session
from memagent.cli.common import clean, fresh, load, one_line, print_status, said_by
from memagent.errors import InputError
from memagent.types import Usage
from memagent_renderers.files import write_atomic

if TYPE_CHECKING:
    from memagent.agent import Answer
    from memagent.memory.base import Memory
    from memagent.store import Store

COMMANDS = {
    "help": "this list",
    "exit": "end the chat; so do /quit, exit, quit and Ctrl-D",
    "new": "[NAME]: continue in a new session",
    "model": "[PROVIDER:MODEL]: show or change the model",
    "memory": "[show [ID] | search Q | add T | update ID T | delete ID | undo | audit]",
    "budget": "[N]: show or change the most tokens of recalled memory per turn",
    "image": "[save PATH]: where the picture of the memory is, or save a copy",
    "why": "the recalled items of the last answer",
    "tokens": "tokens of the last turn",
    "usage": "tokens of this chat",
    "sessions": "list sessions",
    "save": "[PATH]: write this session to a text file",
    "export": "[PATH]: write all messages of the user to a JSONL file",
    "retry": "delete the last turn and ask again",
    "edit": "[TEXT]: replace the last question and ask again",
    "multi": "type several lines; /end sends them",
    "debug": "the recalled text of the last answer, and the time of each step",
}
MEMORY_VERBS = {
    "show": "the newest items, or one item",
    "search": "items that match a question",
    "add": "remember a fact",
    "update": "replace the text of an item",
    "delete": "delete an item",
    "undo": "undo the last change",
    "audit": "suspicious items",
}
_ALIASES = {"quit": "exit", "q": "exit", "?": "help"}
_SHOWN = 20


class Slash:
    """Handles what the user types; `done` is set when the chat should end."""

    def __init__(self, chat: ChatSession) -> None:
        self.chat = chat
        self.done = False
        self.question: str | None = None
        """The last question, answered or not."""
        self.answer: Answer | None = None
        """The last answer."""
        self.total = Usage()
        self.prefill = ""
        """Text to start the next line with, for the user to edit."""
        self._replacing = False
        self._lines: list[str] | None = None

    @property
    def prompt(self) -> str:
        return "> " if self._lines is None else ". "

    def add_answer(self, answer: Answer) -> None:
        """Set the answer that /why, /image, /tokens and /debug are about."""
        self.answer = answer
        self.total = self.total + answer.usage

    def handle(self, line: str) -> str | None:
        """The message for the model, or None when the line was a command, empty, or part of /multi."""
        self.prefill = ""
        if self._lines is not None:  # within /multi
            *lines, last = line.split("\n")
            self._lines += lines
            if last.strip() != "/end":
                self._lines.append(last)
                return None
            text, self._lines = "\n".join(self._lines), None
            return text if text.strip() else None
        command = line.lstrip()
        if command.rstrip().lower() in ("exit", "quit"):
            command = "/exit"
        if command.startswith("/") and not command.startswith("//"):
            self._replacing = False
            name, _, rest = command[1:].partition(" ")
            return self._run(_ALIASES.get(name.strip().lower(), name.strip().lower()), rest.strip())
        if not command:
            return None
        if self._replacing:
            self._replacing = False
            self.chat.undo_turn()
        return command[1:] if command.startswith("//") else line

    def _run(self, name: str, rest: str) -> str | None:
        if name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean /{near[0]}?" if near else "/help lists all."
            print_status(f"there is no /{one_line(name, 40)}; {hint} (to send a message that starts with a slash, type two)")
            return None
        run: Callable[[str], str | None] = getattr(self, f"_{name}")
        try:
            return run(rest)
        except OSError as error:
            raise InputError(f"cannot write {error.filename or rest}: {error.strerror}") from error

    def leave_multi(self) -> bool:
        """Drop the lines of /multi. False when it was not active."""
        collecting, self._lines = self._lines is not None, None
        return collecting

    # -- preconditions --------------------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        if self.chat.store is None:
            raise InputError("this chat has no memory")
        return self.chat.store

    @property
    def _remembered(self) -> Memory:
        if self.chat.agent.memory is None:
            raise InputError("this chat has no memory")
        return self.chat.agent.memory

    @property
    def _last(self) -> Answer:
        if self.answer is None:
            raise InputError("there is no answer yet")
        return self.answer

    # -- the chat ------------------------------------------------------------------------------------------------------

    def _help(self, _: str) -> None:
        for name, text in COMMANDS.items():
            print_status(f"/{name:9} {text}")
        print_status("A line that starts with // is sent with one slash. Alt-Enter starts a new line. Ctrl-C stops an answer.")

    def _exit(self, _: str) -> None:
        self.done = True

    def _new(self, rest: str) -> None:
        self.chat.new_session(rest or new_session())
        memory = self.chat.agent.memory
        print_status("starting over" if memory is None else f"session {memory.session}")

    def _model(self, rest: str) -> None:
        agent = self.chat.agent
        if rest:
            self.chat.set_model(load(rest, self.chat.settings))
        print_status(f"model {agent.model.name}, budget {agent.budget.tokens} tokens")

    def _budget(self, rest: str) -> None:
        if rest:
            try:
                tokens = int(rest)
            except ValueError:
                raise InputError(f"a budget is a number of tokens, not {rest!r}") from None
            self.chat.agent.budget = tokens
        print_status(f"budget {self.chat.agent.budget.tokens} tokens")

    def _sessions(self, _: str) -> None:
        for one in self._store.sessions(self.chat.user):
            here = "*" if one.name == self.chat.session else " "
            print_status(f"{here} {clean(one.name):20} {one.last:%Y-%m-%d %H:%M} {one.messages:5}  {one_line(one.title)}")

    def _retry(self, _: str) -> str:
        if self.question is None:
            raise InputError("there is no question yet")
        self.chat.undo_turn()
        return self.question

    def _edit(self, rest: str) -> str | None:
        if self.question is None:
            raise InputError("there is no question yet")
        if not rest:
            self.prefill, self._replacing = self.question, True
            print_status("what you send now replaces the last question")
            return None
        self.chat.undo_turn()
        return rest

    def _multi(self, _: str) -> None:
        self._lines = []
        print_status("type several lines; a line with /end sends them")

    # -- the memory ----------------------------------------------------------------------------------------------------

    def _memory(self, rest: str) -> None:
        verb, _, text = (rest or "show").partition(" ")
        text = text.strip()
        if verb not in MEMORY_VERBS:
            near = get_close_matches(verb, MEMORY_VERBS, n=1)
            hint = f"did you mean /memory {near[0]}?" if near else f"/memory {COMMANDS['memory']}"
            raise InputError(f"there is no /memory {one_line(verb, 40)}; {hint}")
        getattr(self, f"_memory_{verb}")(self._remembered, text)

    def _memory_show(self, memory: Memory, id: str) -> None:
        if id:
            item = memory.get(id)
            print_status(
                f"{item.id}, {item.time:%Y-%m-%d %H:%M}, {clean(item.session or '')}, {item.origin}\n{clean(item.text)}"
            )
            return
        items = memory.items(newest_first=True, limit=_SHOWN + 1)
        if len(items) > _SHOWN:
            print_status(f"the newest {_SHOWN}:")
        for item in items[:_SHOWN][::-1]:
            print_status(f"{clean(item.id):8} {said_by(item.role, item.speaker, item.time)}: {one_line(item.text)}")
        if not items:
            print_status("nothing is remembered yet")

    def _memory_search(self, memory: Memory, query: str) -> None:
        found = memory.search(query)
        for one in found:
            who = said_by(one.item.role, one.item.speaker, one.item.time)
            print_status(f"{clean(one.item.id):8} {one.score:6.2f} {who}: {one_line(one.item.text)}")
        if not found:
            print_status("no item matches")

    def _memory_add(self, memory: Memory, text: str) -> None:
        print_status(f"added {memory.remember(text).ids[0]}")

    def _memory_update(self, memory: Memory, rest: str) -> None:
        id, _, text = rest.partition(" ")
        if not text.strip():
            self.prefill = f"/memory update {id} {memory.get(id).text}"
            print_status(f"edit the text of {id} and press Enter")
            return
        memory.update(id, text.strip())
        print_status(f"updated {id}; /memory undo brings the old text back")

    def _memory_delete(self, memory: Memory, id: str) -> None:
        memory.delete(id)
        print_status(f"deleted {id}; /memory undo brings it back")

    def _memory_undo(self, memory: Memory, _: str) -> None:
        outcome = memory.undo().outcomes[0]
        print_status(f"{outcome.action} {outcome.id}")

    def _memory_audit(self, memory: Memory, _: str) -> None:
        findings = memory.audit()
        for one in findings:
            print_status(f"{clean(one.id):8} {one.problem}: {clean(one.detail)}")
        if not findings:
            print_status("nothing to report")

    # -- the last answer --------------------------------------------------------------------------------------------------

    def _why(self, _: str) -> None:
        recall = self._last.recall
        if recall is None or not recall.sources:
            print_status("nothing was recalled")
            return
        for source in recall.sources:
            score = "" if source.score is None else f"{source.score:.2f}"
            who = said_by(source.role, source.speaker, source.time)
            print_status(f"{clean(source.id):8} {score:>6} {who}: {one_line(source.text)}")
            behind = [id for id in source.messages if id != source.id]
            if behind:
                print_status(f"{'':16}from {', '.join(map(clean, behind))}")
        more = f"{recall.dropped} more did not fit; " if recall.dropped else ""
        print_status(f"{more}/memory show ID prints an item in full")

    def _image(self, rest: str) -> None:
        recall = self._last.recall
        verb, _, target = rest.partition(" ")
        if rest and (verb != "save" or not target.strip()):
            raise InputError("/image prints where the picture is, /image save PATH writes a copy")
        if recall is None or recall.picture is None:
            raise InputError("the memory was shown as text, not as a picture; `--memory memocr` draws pictures")
        if not rest and self.chat.agent.read_only:
            raise InputError("this chat is read-only; /image save PATH writes the picture outside the store")
        folder = self._store.backend.picture_folder(self.chat.user)
        path = _typed_path(target.strip()) if rest else folder / "last-view.png"
        _write(path, recall.picture.png, ours=not rest)
        print_status(f"{path} ({recall.picture.width}x{recall.picture.height} px, {recall.cost} visual tokens)")

    def _tokens(self, _: str) -> None:
        recall, usage = self._last.recall, self._last.usage
        view = f"; recalled view {recall.cost} of {recall.budget}{'' if recall.exact else ', estimated'}" if recall else ""
        print_status(f"read {usage.text_in}, wrote {usage.text_out}, visual {usage.visual}{view}")

    def _usage(self, _: str) -> None:
        total = self.total
        spent = f"read {total.text_in}, wrote {total.text_out}, visual {total.visual}"
        print_status(f"{total.calls} calls, {spent} tokens, {total.seconds:.1f} s")

    def _debug(self, _: str) -> None:
        recall, seconds = self._last.recall, self._last.seconds
        if recall is None or recall.empty:
            print_status("the memory was empty")
        else:
            print_status(clean(recall.text) if recall.text is not None else "a picture; /image shows where it is")
        print_status(", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))

    # -- writing -------------------------------------------------------------------------------------------------------

    def _save(self, rest: str) -> None:
        memory = self._remembered
        path = _typed_path(rest) if rest else Path(f"{memory.session.replace(os.sep, '-')}.txt")
        lines = [f"{message.speaker or message.role}: {message.text}" for message in memory.messages(session=memory.session)]
        _write(path, ("\n\n".join(lines) + "\n").encode())
        print_status(f"saved {path}")

    def _export(self, rest: str) -> None:
        path = fresh(_typed_path(rest or "memory.jsonl"))
        print_status(f"wrote {self._remembered.export_file(path)} messages to {path}")


def _typed_path(text: str) -> Path:
    """A path as it was typed; a `~` of nobody is a name like any other, as in a shell."""
    return Path(os.path.expanduser(text))


def _write(path: Path, data: bytes, *, ours: bool = False) -> None:
    """Write a file with mode 0600. Raises `InputError` for one that exists, unless it is `ours`, in a folder of the store."""
    if ours:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, data)
        return
    handle = os.open(fresh(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # which follows no link
    with os.fdopen(handle, "wb") as file:
        file.write(data)
