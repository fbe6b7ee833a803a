"""`Agent`: recall, answer, observe.

A turn: the user's message is written to the log; the memory makes a view of what it knows for that message, within the
budget; the model sees instructions, the view, the last turns and the message, and answers; the answer is written to the
log; then the memory may distil. What was recalled is marked as data and is never written back as something new.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict

from memagent import prompts
from memagent.errors import NotFound
from memagent.memory.base import Memory
from memagent.models.base import ChatModel, Reply, ReplyStream, StopReason
from memagent.models.registry import load_model
from memagent.types import ImagePart, Message, Recall, Usage, user_message
from memagent_renderers.budget import Budget

RECENT = 6
"""Messages of the session that the model sees verbatim beside the recalled view."""

SMALL_BUDGET = 160
"""Default budget for a small model: it finds a fact among some eight lines, and reads them in a second."""


class Answer(BaseModel):
    """What an agent said, and what shaped it."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    text: str
    session: str
    model: str
    recall: Recall | None
    """The view that the model was given; None without a memory."""
    stop_reason: StopReason = "stop"
    usage: Usage = Usage()
    seconds: dict[str, float] = {}
    """Seconds since the turn began: "recall" made, "first_token" out, "total"."""
    ids: tuple[str, ...] = ()
    """Ids under which the message and the answer were stored; empty when nothing was."""


class AnswerStream(Iterator[str]):
    """Pieces of an answer as they come; `answer` is there when they end, also after `interrupt`."""

    def __init__(self, pieces: Generator[str, None, Answer], *, recall: Recall | None) -> None:
        self._pieces = pieces
        self.recall = recall
        self.answer: Answer | None = None
        self.interrupted = False

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as end:
            if self.answer is None:
                self.answer = end.value
            raise StopIteration from None

    def interrupt(self) -> Answer | None:
        """Stop here. What was said so far is stored, marked as partial."""
        if self.answer is None:
            try:
                self._pieces.throw(Interrupted())
            except StopIteration as end:
                self.answer = end.value
                self.interrupted = True
            except Interrupted:  # nothing had been asked yet
                self.interrupted = True
        return self.answer


class Interrupted(Exception):
    """Thrown into a stream to end it early; never reaches a caller."""


class Agent:
    """An assistant with a memory.

    `model` is a `ChatModel` or its `provider:model` name; a model that is named is closed with the agent. `budget` is in
    tokens of the model's own reader: of text, or of a picture for a memory that draws one. With `read_only` nothing is
    written. `consolidate` distils after each answer of `run`; turn it off to call `memory.consolidate()` when it suits.
    """

    def __init__(
        self,
        *,
        model: ChatModel | str = "embedded",
        memory: Memory | None = None,
        budget: int | None = None,
        system: str | None = None,
        recent: int = RECENT,
        max_tokens: int = 512,
        temperature: float = 0.0,
        read_only: bool = False,
        flush: bool = True,
    ) -> None:
        self.memory = memory
        self._owned = isinstance(model, str)
        self.model = load_model(model) if isinstance(model, str) else model
        self._asked_budget = budget
        self.budget = Budget(self._default_budget() if budget is None else budget, self.model.reader)
        self.system = system
        self.recent = recent
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.read_only = read_only
        self._flush = flush
        self._turns: list[Message] | None = None
        self._last: tuple[str, ...] = ()
        """Ids under which the last turn was stored, also when the model failed to answer."""
        self._last_turns = 0
        """Messages of the last turn among `_turns`."""

    def _default_budget(self) -> int:
        default = self.memory.default_budget if self.memory is not None else 1
        return min(default, SMALL_BUDGET) if self.model.small else default

    @property
    def session(self) -> str:
        """Name of the session in which this agent talks."""
        return self.memory.session if self.memory is not None else "default"

    def run(self, text: str, *, images: tuple[ImagePart, ...] = ()) -> Answer:
        """One turn. Raises a `ModelError` when the model fails; the user's message is stored all the same."""
        stream = self.stream(text, images=images)
        for _ in stream:
            pass
        assert stream.answer is not None
        if self._flush and self.memory is not None and not self.read_only:
            self.memory.consolidate()
        return stream.answer

    def stream(self, text: str, *, images: tuple[ImagePart, ...] = ()) -> AnswerStream:
        """One turn, piece by piece. The message is stored and the view is made before this returns."""
        began = time.perf_counter()
        message = user_message(text, *images)
        recent = self._recent()
        stored: tuple[str, ...] = ()
        if self.memory is not None and not self.read_only:
            stored = self.memory.add(message).ids
        self._last, self._last_turns = stored, 0
        recall = self._recall(text, {*stored, *(turn.id for turn in recent if turn.id)})
        timing = {"recall": time.perf_counter() - began}
        prompt = self._prompt(recall, recent, message)
        reply = self.model.stream(prompt.messages, max_tokens=prompt.max_tokens, temperature=self.temperature, stop=prompt.stop)
        return AnswerStream(self._answering(reply, message, stored, recall, timing, began), recall=recall)

    def _prompt(self, recall: Recall | None, recent: list[Message], message: Message) -> prompts.Prompt:
        if self.model.small:
            return prompts.compose_small(self.system, recall, message, max_tokens=self.max_tokens)
        return prompts.compose(self.system, recall, recent, message, max_tokens=self.max_tokens)

    def _answering(
        self,
        reply: ReplyStream,
        message: Message,
        stored: tuple[str, ...],
        recall: Recall | None,
        timing: dict[str, float],
        began: float,
    ) -> Generator[str, None, Answer]:
        said: list[str] = []
        try:
            for piece in reply:
                timing.setdefault("first_token", time.perf_counter() - began)
                said.append(piece)
                yield piece
            whole = reply.reply
        except (Interrupted, KeyboardInterrupt, GeneratorExit):  # asked to stop, Ctrl-C while waiting, dropped
            reply.close()
            whole = None
        text = "".join(said) if whole is None else whole.text
        timing["total"] = time.perf_counter() - began
        ids = stored + self._keep(message, stored, text, partial=whole is None)
        return self._answer(text, whole, recall, timing, ids)

    def _answer(
        self, text: str, whole: Reply | None, recall: Recall | None, timing: dict[str, float], ids: tuple[str, ...]
    ) -> Answer:
        count = self.model.reader.count
        usage = Usage(text_out=count(text), calls=1) if whole is None else whole.usage
        return Answer(
            text=text,
            session=self.session,
            model=self.model.name,
            recall=recall,
            stop_reason="interrupted" if whole is None else whole.stop_reason,
            usage=usage + recall.usage if recall is not None else usage,
            seconds=timing,
            ids=ids,
        )

    def _recall(self, text: str, exclude: set[str]) -> Recall | None:
        if self.memory is None:
            return None
        return self.memory.recall(text, budget=self.budget, exclude=exclude)

    def _recent(self) -> list[Message]:
        """The last turns of this session, from the log when the session is taken up again."""
        if self.model.small:
            return []
        if self._turns is None:
            self._turns = [] if self.memory is None else self._turns_of(self.memory)
        return self._turns[-self.recent :] if self.recent else []

    def _turns_of(self, memory: Memory) -> list[Message]:
        newest = memory.messages(session=memory.session, limit=self.recent)
        return [message for message in newest if message.role in ("user", "assistant")]

    def _keep(self, message: Message, stored: tuple[str, ...], text: str, *, partial: bool) -> tuple[str, ...]:
        """Write the answer to the log and remember both sides of the turn. Returns the answer's ids."""
        answer = Message(role="assistant", content=text)
        ids: tuple[str, ...] = ()
        if self.memory is not None and not self.read_only and text:
            ids = self.memory.add(answer, origin="partial" if partial else "said").ids
        turns = self._turns if self._turns is not None else []
        turns.append(message.model_copy(update={"id": stored[0] if stored else None}))
        if text:
            turns.append(answer.model_copy(update={"id": ids[0] if ids else None}))
        self._turns = turns
        self._last, self._last_turns = (*stored, *ids), 2 if text else 1
        return ids

    def take_back(self) -> None:
        """Forget the last turn, question and answer, to ask again; the memory's `undo` brings them back one by one."""
        if self.memory is not None and not self.read_only:
            for id in reversed(self._last):
                with suppress(NotFound):  # purged meanwhile
                    self.memory.delete(id)
        if self._turns and self._last_turns:
            del self._turns[-self._last_turns :]
        self._last, self._last_turns = (), 0

    def forget_turns(self) -> None:
        """Take the turns that the model sees verbatim from the log anew: the memory's session has changed."""
        self._turns = None
        self._last, self._last_turns = (), 0

    def use_model(self, model: ChatModel) -> None:
        """Go on with another model, which this agent closes. A budget that was asked for stays the same number of tokens."""
        self.close()
        self.model, self._owned = model, True
        self.budget = Budget(self._asked_budget or self._default_budget(), model.reader)

    def use_budget(self, tokens: int) -> None:
        """Recall views of at most so many tokens from now on. Raises `BudgetError` for a number below 1."""
        self.budget = Budget(tokens, self.model.reader)
        self._asked_budget = tokens

    def close(self) -> None:
        """Close the model if this agent loaded it. Memory and store are the caller's. Safe to call twice."""
        if self._owned:
            self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
