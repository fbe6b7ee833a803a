"""Models without weights, for demos, tests and users' own tests.

`FakeModel` shows memory at work: asked a question, it answers with the line of the prompt that shares most words with
it, preferring lines between `<memory>` tags, and what OCR read, between `<picture>` tags; of the prompts of MemOCR and
MemAgent it takes what stands in `<problem>` for the question, an `<article>` for known too, and boxes its answer when it
is told to. `GarbageModel` never says anything sensible, schema or not.
They are deterministic and count text by a word-piece rule of their own, exactly, as does `ScriptedModel` in the module
`scripted`, which is built on the same base.
"""

from __future__ import annotations

import json
import math
import re
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from memagent.errors import InputError, ModelError
from memagent.models.base import ChatModel, Reply, Request
from memagent.models.convert import cut_at_stop, require_sight, text_cost, visual_cost
from memagent.types import Message, Usage
from memagent_renderers.budget import ReaderProfile

_PIECE = re.compile(r"\n|[^\S\n]*(?:[^\W\d_]{1,4}|[^\sa-zA-Z])|[^\S\n]+")
_WORD = re.compile(r"[^\W_]+")
_KNOWN = re.compile(r"<(memory|article|picture)\b[^>]*>(.*?)</\1>", re.DOTALL)
_WRAPPED = re.compile(r"(?<=[^.!?:)\n])\n(?=\S)")
"""A line break inside a sentence: a page breaks lines where they are full."""
_PROBLEM = re.compile(r"<problem>(.*?)</problem>", re.DOTALL)
_BOX = "\\boxed{}"
_LABEL = re.compile(r"^\s*(?:[-*]\s+)?(?:\[[^\]]*\]\s*)?(?:\w{1,20}:\s+)?")
_ASKING = frozenset(
    _WORD.findall("what when where who whom whose which why how do does did is are was were can could will would")
)
_EMPTY = _ASKING | frozenset(_WORD.findall("a an the i my me you your of in on at to and or for it s am be have has had with"))


def pieces_of(text: str) -> list[str]:
    """The fakes' tokens: up to four letters, or one other character, and the blanks before it. They join to `text`."""
    return _PIECE.findall(text)


def count_pieces(text: str) -> int:
    """How many tokens the fakes count in `text`."""
    return len(pieces_of(text))


class Fake(ChatModel):
    """What all fakes share: the reader, paced streaming, `max_tokens`, stop texts and usage. A fake gives `_say`."""

    def __init__(self, name: str, *, sees_images: bool = False, chunk_delay: float = 0.0) -> None:
        self.name = name
        self.reader = ReaderProfile(name=name, count=count_pieces, exact=True, sees_images=sees_images)
        self._chunk_delay = chunk_delay

    @abstractmethod
    def _say(self, request: Request) -> str:
        """The whole answer."""

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        require_sight(request.messages, self.reader, hint="Use `FakeModel(sees_images=True)`.")
        start = time.perf_counter()
        tokens = pieces_of(self._say(request))
        written = cut_at_stop(self._paced(tokens[: request.max_tokens], start, request.timeout), request.stop)
        text = ""
        while True:
            try:
                piece = next(written)
            except StopIteration as end:
                stopped = bool(end.value)
                break
            text += piece
            yield piece
        usage = Usage(
            text_in=text_cost(request.messages, self.reader),
            text_out=count_pieces(text),
            visual=visual_cost(request.messages, self.reader),
            calls=1,
            seconds=time.perf_counter() - start,
        )
        cut = len(tokens) > request.max_tokens and not stopped
        return Reply(text=text, usage=usage, stop_reason="length" if cut else "stop", model=self.name)

    def _paced(self, tokens: Sequence[str], start: float, timeout: float | None) -> Iterator[str]:
        for token in tokens:
            if self._chunk_delay:
                time.sleep(self._chunk_delay)
            if timeout is not None and time.perf_counter() - start > timeout:
                raise ModelError(f"the model did not finish within {timeout:g} s", retryable=True)
            yield token


class FakeModel(Fake):
    """Answers from the prompt, or always with `reply`. Under a schema it gives the smallest JSON that is valid.

    `chunk_delay` is the pause before each token, in seconds, for tests that interrupt. With `sees_images` it accepts
    pictures and charges for them, but reads nothing in them.
    """

    def __init__(self, reply: str | None = None, *, chunk_delay: float = 0.0, sees_images: bool = False) -> None:
        super().__init__("fake", sees_images=sees_images, chunk_delay=chunk_delay)
        self._reply = reply

    def _say(self, request: Request) -> str:
        if self._reply is not None:
            return self._reply
        if request.schema is not None:
            return minimal_json(request.schema)
        return answer_from(request.messages)


def minimal_json(schema: type[BaseModel]) -> str:
    """The smallest JSON that `schema` accepts: its required fields, in each the simplest value allowed.

    Raises `InputError` for a schema with rules beyond types, bounds, lengths, choices and references (a pattern, or a
    validator in Python): script the reply for such a schema instead.
    """
    whole = schema.model_json_schema()
    text = json.dumps(_smallest(whole, whole.get("$defs", {})))
    try:
        schema.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"the fake model cannot make up a `{schema.__name__}`; use a ScriptedModel for it") from error
    return text


def _smallest(node: dict[str, Any], known: dict[str, Any]) -> Any:
    if "$ref" in node:
        return _smallest(known[node["$ref"].rsplit("/", 1)[1]], known)
    for fixed in ("const", "default"):
        if fixed in node:
            return node[fixed]
    for choices in ("anyOf", "oneOf", "allOf"):
        if choices in node:
            return _smallest(node[choices][0], known)
    if "enum" in node:
        return node["enum"][0]
    match node.get("type"):
        case "object":
            return {name: _smallest(node["properties"][name], known) for name in node.get("required", ())}
        case "array":
            items = node.get("prefixItems") or [node.get("items", {})] * node.get("minItems", 0)
            return [_smallest(item, known) for item in items]
        case "string":
            return "x" * int(node.get("minLength", 0))
        case "integer" | "number":
            low = node.get("minimum", node.get("exclusiveMinimum", -math.inf) + 1)
            high = node.get("maximum", node.get("exclusiveMaximum", math.inf) - 1)
            return max(low, min(high, 0))
        case "boolean":
            return False
    return None


class GarbageModel(Fake):
    """Always answers the same nonsense, also when a schema is asked for: what a broken model looks like."""

    text = '%% {"op": [ \u2603 not json'

    def __init__(self) -> None:
        super().__init__("garbage", sees_images=True)

    def _say(self, request: Request) -> str:
        return self.text


def answer_from(messages: Sequence[Message]) -> str:
    """The line of the prompt that shares most words with the last line of the last user message.

    Words count by their first five letters, so that "called" finds "calls"; between equals the later line wins. A last
    line that asks nothing is only acknowledged.
    """
    users = [message for message in messages if message.role == "user"]
    last = (users or list(messages))[-1].text
    problem = _PROBLEM.search(last)
    lines = [line for line in (problem[1] if problem else last).splitlines() if line.strip()]
    asked = re.sub(r"^(?:question|user)\s*:\s*", "", lines[-1].strip(), flags=re.IGNORECASE) if lines else ""
    words = _WORD.findall(asked.lower())
    if not asked.rstrip().endswith("?") and (not words or words[0] not in _ASKING):
        return "Noted."

    # Known are earlier turns and blocks of memory and article; without any, all lines that are not themselves questions.
    text = "\n".join(message.text for message in messages)
    turns = [message.text for message in messages[:-1] if message.role != "system"]
    blocks = [_WRAPPED.sub(" ", block) if name == "picture" else block for name, block in _KNOWN.findall(text)]
    known = [*turns, *blocks] or [text]
    wanted, best, most = _stems(asked), "", 1
    for line in "\n".join(known).splitlines():
        shared = len(wanted & _stems(line))
        if shared >= most and asked not in line and not line.rstrip().endswith("?"):
            best, most = line, shared
    answer = _LABEL.sub("", best, count=1).strip() or "I do not know."
    return f"\\boxed{{{answer}}}" if _BOX in messages[-1].text else answer


def _stems(line: str) -> set[str]:
    return {word[:5] for word in _WORD.findall(line.lower()) if word not in _EMPTY}
