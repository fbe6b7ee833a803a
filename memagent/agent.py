"""`Agent`: recall, answer, remember.

A turn: the user's message is written to the log; the memory makes a view of what it knows for that message, within the
budget; the model sees instructions, the view, the last turns and the message, and answers; the answer is written to the
log; then the memory may consolidate. What was recalled is marked as data and is never written back as something new.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict

from memagent import prompts
from memagent.errors import InputError
from memagent.memory.base import Memory
from memagent.messages import ImageLike, MessageLike, user_turn
from memagent.models.base import ChatModel, ReplyStream, StopReason
from memagent.models.ocr_reader import with_ocr
from memagent.models.registry import load_model
from memagent.types import Message, Recall, Usage
from memagent_renderers.budget import Budget

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
                self._pieces.throw(_Interrupted())
            except StopIteration as end:
                self.answer = end.value
                self.interrupted = True
            except _Interrupted:  # nothing had been asked yet
                self.interrupted = True
        return self.answer


class _Interrupted(Exception):
    """Thrown into a stream to end it early; never reaches a caller."""


class Agent:
    """An assistant with a memory.

    `model` is a `ChatModel` or its `provider:model` name; a model that is named is closed with the agent. Where the memory
    draws pictures and the model cannot see, it reads them by OCR. `budget` is the most tokens of a recalled view, in the
    model's own tokens (visual ones for pictures), or a `Budget` with a reader of its own; None is the memory's default.
    `system` replaces the first instructions, `recent_messages` is how many messages of the session the model sees verbatim,
    `max_tokens` the longest answer. With `read_only` nothing is written. `auto_consolidate` consolidates the memory after each
    answer of `run`; turn it off to call `memory.consolidate()` when it suits.

    Raises `InputError` and `BudgetError` for arguments that cannot be, and what loading the model raises.
    """

    def __init__(
        self,
        *,
        model: ChatModel | str = "embedded",
        memory: Memory | None = None,
        budget: int | Budget | None = None,
        system: str | None = None,
        recent_messages: int = 6,
        max_tokens: int = 512,
        temperature: float = 0.0,
        read_only: bool = False,
        auto_consolidate: bool = True,
    ) -> None:
        self._memory = _checked_memory(memory)
        self._asked_budget = _checked_budget(budget)
        self._owns_model = isinstance(model, str)
        self._model = _loaded(model)
        self._connect()
        self.system = system
        self.recent_messages = recent_messages
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.read_only = read_only
        self.auto_consolidate = auto_consolidate
        self._turns: list[Message] | None = None
        self.last_ids: tuple[str, ...] = ()
        """Ids under which the last turn was stored, also when the model failed to answer."""

    def _connect(self) -> None:
        """Put an OCR reader between a memory that draws and a model that cannot see."""
        drawn = self._memory is not None and self._memory.draws
        self._answerer = with_ocr(self._model) if drawn else self._model

    @property
    def model(self) -> ChatModel:
        """The model that answers. Setting it (a `ChatModel` or a name) closes one that this agent loaded."""
        return self._model

    @model.setter
    def model(self, model: ChatModel | str) -> None:
        loaded = _loaded(model)
        self.close()
        self._model, self._owns_model = loaded, isinstance(model, str)
        self._connect()

    @property
    def memory(self) -> Memory | None:
        """The memory, or None. Setting it begins with the turns of its session."""
        return self._memory

    @memory.setter
    def memory(self, memory: Memory | None) -> None:
        self._memory, self._turns, self.last_ids = _checked_memory(memory), None, ()
        self._connect()

    @property
    def budget(self) -> Budget:
        """Most tokens of a recalled view. Set it to a number of the model's tokens, a `Budget`, or None for the default."""
        asked = self._asked_budget
        if isinstance(asked, Budget):
            return asked
        if asked is None:
            default = 1 if self._memory is None else self._memory.default_budget
            asked = min(default, SMALL_BUDGET) if self._model.small else default
        return Budget(asked, self._answerer.reader)

    @budget.setter
    def budget(self, budget: int | Budget | None) -> None:
        self._asked_budget = _checked_budget(budget)

    @property
    def turns(self) -> list[Message]:
        """What was said in this session, oldest first, beginning with the newest messages of the log. It may be changed."""
        if self._turns is None:
            memory, most = self._memory, self.recent_messages
            newest = [] if memory is None else memory.messages(session=memory.session, limit=most)
            self._turns = [message for message in newest if message.role in ("user", "assistant")]
        return self._turns

    def run(self, text: MessageLike, *, images: Sequence[ImageLike] = ()) -> Answer:
        """One turn: what the user says (a string, a `Message` or a dict), with pictures (parts, bytes or paths).

        Raises `InputError` for anything else; then nothing is stored. Raises a `ModelError` when the model fails; the user's
        message is stored all the same. Raises a `StoreError` when nothing could be stored.
        """
        stream = self.stream(text, images=images)
        for _ in stream:
            pass
        assert stream.answer is not None
        if self.auto_consolidate and self._memory is not None and not self.read_only:
            self._memory.consolidate()
        return stream.answer

    def stream(self, text: MessageLike, *, images: Sequence[ImageLike] = ()) -> AnswerStream:
        """One turn, piece by piece; raises as `run` does. The message is stored and the view is made before this returns."""
        began = time.perf_counter()
        message = user_turn(text, images)
        turns = self.turns
        shown = turns[-self.recent_messages :] if self.recent_messages and not self._model.small else []
        stored: tuple[str, ...] = ()
        if self._memory is not None and not self.read_only:
            stored = self._memory.add(message).ids
        self.last_ids = stored
        recall = None
        if self._memory is not None:
            seen = {*stored, *(turn.id for turn in shown if turn.id)}
            recall = self._memory.recall(message.text, budget=self.budget, exclude=seen)
        timing = {"recall": time.perf_counter() - began}
        if self._model.small:
            prompt = prompts.compose_small(self.system, recall, message, max_tokens=self.max_tokens)
        else:
            prompt = prompts.compose(self.system, recall, shown, message, max_tokens=self.max_tokens)
        reply = self._answerer.stream(
            prompt.messages, max_tokens=prompt.max_tokens, temperature=self.temperature, stop=prompt.stop
        )
        return AnswerStream(self._answering(reply, message, stored, recall, timing, began), recall=recall)

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
        except (_Interrupted, KeyboardInterrupt, GeneratorExit):  # asked to stop, Ctrl-C while waiting, dropped
            reply.close()
            whole = None
        text = "".join(said) if whole is None else whole.text
        timing["total"] = time.perf_counter() - began
        ids = stored + self._keep(message, stored, text, partial=whole is None)
        usage = Usage(text_out=self._model.reader.count(text), calls=1) if whole is None else whole.usage
        return Answer(
            text=text,
            session="default" if self._memory is None else self._memory.session,
            model=self._model.name,
            recall=recall,
            stop_reason="interrupted" if whole is None else whole.stop_reason,
            usage=usage if recall is None else usage + recall.usage,
            seconds=timing,
            ids=ids,
        )

    def _keep(self, message: Message, stored: tuple[str, ...], text: str, *, partial: bool) -> tuple[str, ...]:
        """Write the answer to the log and remember both sides of the turn. Returns the answer's ids."""
        answer = Message(role="assistant", content=text)
        ids: tuple[str, ...] = ()
        if self._memory is not None and not self.read_only and text:
            ids = self._memory.add(answer, origin="partial" if partial else "said").ids
        self.turns.append(message.model_copy(update={"id": stored[0] if stored else None}))
        if text:
            self.turns.append(answer.model_copy(update={"id": ids[0] if ids else None}))
        self.last_ids = (*stored, *ids)
        return ids

    def close(self) -> None:
        """Close the model if this agent loaded it. Memory and store are the caller's. Safe to call twice."""
        if self._owns_model:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _checked_memory(memory: Memory | None) -> Memory | None:
    if memory is not None and not isinstance(memory, Memory):
        raise InputError(f"memory is a Memory, such as `store.memory('rag')`, not {memory!r}")
    return memory


def _checked_budget(budget: int | Budget | None) -> int | Budget | None:
    return budget if budget is None or isinstance(budget, Budget) else Budget(budget).tokens


def _loaded(model: ChatModel | str) -> ChatModel:
    if isinstance(model, str):
        return load_model(model)
    if not isinstance(model, ChatModel):
        raise InputError(f"model is a ChatModel, or a name such as 'embedded' or 'openai:gpt-4o-mini', not {model!r}")
    return model
