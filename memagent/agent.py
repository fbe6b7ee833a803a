"""`Agent`: recall, answer, remember.

A turn: the user's message is written to the log; the memory makes a view of what it knows for that message, within the
budget; the model sees instructions, the view, the last turns and the message, and answers; the answer is written to the
log; then the memory may consolidate. What was recalled is marked as data and is never written back as something new.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict

from memagent import grounding, prompts
from memagent.errors import InputError
from memagent.grounding import UserStatement
from memagent.memory.base import Memory
from memagent.messages import ImageLike, MessageLike, user_turn
from memagent.models.base import CallOptions, ChatModel, Reply, ReplyStream, Request, StopReason
from memagent.models.convert import text_cost, visual_cost
from memagent.models.ocr_reader import OcrReader, with_ocr
from memagent.models.registry import load_model
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.embedders.cached import CachedEmbedder
from memagent.types import ImagePart, Message, Recall, Usage, now
from memagent_renderers.budget import Budget

SMALL_BUDGET = 160
"""Default visual budget for a small model: OCR reads a page of this size in some three seconds."""
_EMBEDDED = 1000
"""Sentences whose vectors an agent keeps."""


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


@dataclass
class AgentTurn:
    """One turn under way: what was said and stored, what the model is asked, and what it has said so far."""

    message: Message
    stored: tuple[str, ...]
    """Ids of the message; empty when it was not stored."""
    answerer: ChatModel
    recall: Recall | None
    prompt: prompts.ChatPrompt
    began: float
    """On the clock of `time.perf_counter`."""
    seconds: dict[str, float]
    """As `Answer.seconds`."""
    said: list[str] = field(default_factory=list)

    def hear(self, piece: str) -> None:
        """Take a piece of the answer."""
        self.seconds.setdefault("first_token", time.perf_counter() - self.began)
        self.said.append(piece)


class Spoken(ChatModel):
    """Says one text, in the name of a model that is not asked."""

    def __init__(self, text: str, *, model: ChatModel, usage: Usage) -> None:
        self.name, self.reader, self._reply = model.name, model.reader, Reply(text=text, usage=usage, model=model.name)

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        yield self._reply.text
        return self._reply


class AnswerStream(Iterator[str]):
    """Pieces of an answer as they come; `answer` is there when they end, also after `interrupt` and when the store closes."""

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
        self._cached: CachedEmbedder | None = None
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
        self._memory, self._turns, self._cached, self.last_ids = _checked_memory(memory), None, None, ()
        self._connect()

    @property
    def budget(self) -> Budget:
        """Most tokens of a recalled view. Set it to a number of the model's tokens, a `Budget`, or None for the default."""
        asked = self._asked_budget
        if isinstance(asked, Budget):
            return asked
        if asked is None:
            default = 1 if self._memory is None else self._memory.default_budget
            drawn = self._memory is not None and self._memory.draws
            asked = min(default, SMALL_BUDGET) if drawn and self._model.small else default
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
        message is stored all the same, and what had been said, `ModelError.partial`, marked as partial. Saying the same again
        then is a retry and stores no second message. Raises a `StoreError` when nothing could be stored.
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
        turn = self._begin(text, images)
        reply = turn.answerer.stream(turn.prompt.messages, **self._options(turn))
        stream = AnswerStream(self._answering(turn, reply), recall=turn.recall)
        if self._memory is not None:
            self._memory.unfinished.add(stream)
        return stream

    def _begin(self, text: MessageLike, images: Sequence[ImageLike]) -> AgentTurn:
        """Store what the user says, recall, and put the prompt together."""
        began = time.perf_counter()
        message, earlier = user_turn(text, images), self.turns
        stored = self._store(message)
        self._turns = turns = [turn for turn in earlier if turn.id not in stored]
        self.last_ids = stored
        shown = turns[-self.recent_messages :] if self.recent_messages else []
        recall = None
        if self._memory is not None:
            seen = {*stored, *(turn.id for turn in shown if turn.id)}
            recall = self._memory.recall(message.text, budget=self.budget, exclude=seen)
        answerer = self._answerer
        if self._model.small:
            prompt = prompts.compose_small(self.system, grounding.generated(shown), message, max_tokens=self.max_tokens)
            quoted = None if message.images else self._quoted(message, recall, shown)
            if quoted is not None:
                looked = Usage(visual=recall.cost) if recall is not None and recall.picture is not None else Usage()
                answerer = Spoken(quoted, model=self._model, usage=looked)
        else:
            today = message.time or now()
            prompt = prompts.compose(self.system, recall, shown, message, now=today, max_tokens=self.max_tokens)
        return AgentTurn(message, stored, answerer, recall, prompt, began, {"recall": time.perf_counter() - began})

    def _quoted(self, message: Message, recall: Recall | None, recent: Sequence[Message]) -> str | None:
        """What the agent of a small model says by itself: facts are noted, questions about the user answered word for word."""
        said, question = grounding.told_and_asked(message.text)
        if not question:
            return grounding.NOTED if said else None
        told = [] if recall is None else grounding.told_in(recall, read=self._read(recall))
        told += [UserStatement(turn.text, turn.time) for turn in recent if turn.role == "user"]
        told += [UserStatement(one, None) for one in said]
        return grounding.grounded_answer(question, told, now=message.time or now(), embedder=self._embedder())

    def _embedder(self) -> Embedder | None:
        """The memory's embedder; sentences of one question are often those of the next."""
        if self._cached is None and self._memory is not None and (inner := self._memory.embedder) is not None:
            self._cached = CachedEmbedder(inner, max_texts=_EMBEDDED)
        return self._cached

    def _read(self, recall: Recall) -> str | None:
        """What OCR reads on the picture; None for a text, and where the model sees by itself."""
        if recall.picture is None or not isinstance(self._answerer, OcrReader):
            return None
        return self._answerer.read(ImagePart(data=recall.picture.png))

    def _store(self, message: Message) -> tuple[str, ...]:
        """Write what the user says to the log; what was said last and never answered is not said twice. Returns its ids."""
        if self._memory is None or self.read_only:
            return ()
        for newest in self._memory.messages(session=self._memory.session, limit=1):
            if newest.id is not None and (newest.role, newest.content) == ("user", message.content):
                return (newest.id,)
        return self._memory.add(message).ids

    def _options(self, turn: AgentTurn) -> CallOptions:
        prompt = turn.prompt
        return {"max_tokens": prompt.max_tokens, "temperature": self.temperature}

    def _answering(self, turn: AgentTurn, reply: ReplyStream) -> Generator[str, None, Answer]:
        whole = None
        try:
            for piece in reply:
                turn.hear(piece)
                yield piece
            whole = reply.reply
        except (_Interrupted, KeyboardInterrupt, GeneratorExit):  # asked to stop, Ctrl-C while waiting, dropped
            reply.close()
        except Exception:
            self._keep(turn, None)
            raise
        return self._end(turn, whole)

    def _keep(self, turn: AgentTurn, whole: Reply | None) -> str:
        """Write the answer to the log and remember both sides of the turn; without a whole reply, what was said so far."""
        text = "".join(turn.said) if whole is None else whole.text
        answer = Message(role="assistant", content=text)
        ids: tuple[str, ...] = ()
        if self._memory is not None and not self.read_only and text:
            ids = self._memory.add(answer, origin="partial" if whole is None else "said").ids
        if text:
            asked = turn.message.model_copy(update={"id": turn.stored[0] if turn.stored else None})
            self.turns.extend((asked, answer.model_copy(update={"id": ids[0] if ids else None})))
        self.last_ids = (*turn.stored, *ids)
        return text

    def _end(self, turn: AgentTurn, whole: Reply | None) -> Answer:
        """Keep the turn, and say what it was."""
        turn.seconds["total"] = time.perf_counter() - turn.began
        text = self._keep(turn, whole)
        usage = self._estimated(turn, text) if whole is None else whole.usage
        return Answer(
            text=text,
            session="default" if self._memory is None else self._memory.session,
            model=self._model.name,
            recall=turn.recall,
            stop_reason="interrupted" if whole is None else whole.stop_reason,
            usage=usage if turn.recall is None else usage + turn.recall.usage,
            seconds=turn.seconds,
            ids=self.last_ids,
        )

    def _estimated(self, turn: AgentTurn, text: str) -> Usage:
        """What an answer cost of which the model could not report it."""
        reader, asked = self._answerer.reader, turn.prompt.messages
        visual = visual_cost(asked, reader)
        return Usage(text_in=text_cost(asked, reader), text_out=reader.count(text), visual=visual, calls=1)

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
