"""Models behind the OpenAI chat API: the hosted ones, and vLLM, Ollama, LM Studio, llama.cpp and others by their address.

Such servers rarely lend their tokenizer, so `reader` estimates on the high side (`exact=False`); what a call really
cost is taken from the server's own report where it makes one. When that says that pictures cost more than they were
charged for, this is logged, once for each model: the server resizes them otherwise than its `pricing` says. The package
`wire` does the talking; every failure becomes a `ModelError` that says whether trying again can help, and no secret of the
address or the key is in it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from memagent.errors import ConfigError, InputError, MissingKey, ModelError
from memagent.models.base import ChatModel, Reply, Request, checked_timeout
from memagent.models.convert import Json, chat_request, reported_usage, require_sight, text_cost, visual_cost
from memagent.models.wire.answer import BadAnswer, ChatAnswer
from memagent.models.wire.endpoint import Endpoint, is_loopback
from memagent.models.wire.exchange import Disconnected, Expired, ask
from memagent.types import Usage
from memagent_renderers.budget import ReaderProfile, estimate_tokens
from memagent_renderers.pricing import ImagePricing, pricing_for

logger = logging.getLogger(__name__)

_SIGHTED = ("vl", "vision", "omni", "4o", "gpt-4.1", "gpt-5", "gemma-3", "llava", "pixtral")
_MAX_STOPS = 4
"""Stop texts that the API takes; further ones are refused by servers."""
_TEMPLATE_TOKENS = 48
"""Tokens of a prompt that nobody wrote: chat templates add a system text of their own (Qwen2.5 about 20, Llama 3 about 40)."""
_TURN_TOKENS = 8
"""And marks around each message (3 to 5 tokens) and each picture (2 to 3)."""


@dataclass(frozen=True)
class _Call:
    """One request on its way, and what it is reckoned by."""

    request: Request
    body: bytes
    visual: int
    """Visual tokens charged for its pictures."""
    began: float
    """On the clock of `time.monotonic`."""
    deadline: float
    """On the same clock."""


class OpenAICompatibleModel(ChatModel):
    """`model` at an OpenAI-compatible server.

    `base_url` is by default OPENAI_BASE_URL, else OpenAI's own; `api_key` is OPENAI_API_KEY (a server on this machine
    needs none, any other raises `MissingKey`). `sees_images` says whether the model takes pictures: None goes by the
    name (`vl`, `vision`, `omni`, `4o`, `gpt-5` and the like). `pricing` is what a picture costs there, by default what
    `pricing_for(model)` says; give it for a server with other limits than the model's published ones. `timeout` is how many
    seconds a whole call may take, with all its tries, of which there are up to `max_retries` + 1. `headers` are sent with each
    request, and `extra_body` is added to it, such as {"top_p": 0.9}. Redirects are not followed: what is said goes to the
    server that was named and to no other.

    Raises `InputError` for an address or a key that cannot be.
    """

    provider: ClassVar[str] = "openai"
    """What stands before the colon of a name; its variables are `<PROVIDER>_BASE_URL` and `<PROVIDER>_API_KEY`."""
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    needs_key: ClassVar[bool] = True
    """Whether a server that is not on this machine needs a key."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        max_retries: int = 2,
        timeout: float = 300.0,
        sees_images: bool | None = None,
        pricing: ImagePricing | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Json] | None = None,
    ) -> None:
        if not model:
            raise ConfigError(f"which model? Name it as `{self.provider}:MODEL`")
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise InputError(f"max_retries is a number from 0 on, not {max_retries!r}")
        self.name = f"{self.provider}:{model}"
        self._model, self._tries, self._timeout = model, max_retries + 1, checked_timeout(timeout)
        variable = self.provider.upper()
        url = base_url or os.environ.get(f"{variable}_BASE_URL") or self.default_url
        self._endpoint = Endpoint(url, key=api_key or os.environ.get(f"{variable}_API_KEY") or "", headers=headers)
        self._extra_body = _json_object(extra_body or {})
        if not self._endpoint.headers and self.needs_key and not is_loopback(url):
            raise MissingKey(f"{self._endpoint.host} needs a key: set {variable}_API_KEY, or pass `api_key=...`")
        self.reader = ReaderProfile(
            name=self.name,
            count=estimate_tokens,
            exact=False,
            sees_images=any(mark in model.lower() for mark in _SIGHTED) if sees_images is None else sees_images,
            pricing=pricing_for(model) if pricing is None else pricing,
        )
        self._warned = False

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        from memagent.models.wire.transport import sync_pieces

        call = self._prepared(request, time.monotonic())
        exchange = ask(max_tokens=request.max_tokens, tries=self._tries)
        try:
            answer = yield from sync_pieces(exchange, self._endpoint, call.body, deadline=call.deadline)
        except (BadAnswer, Disconnected, Expired) as error:
            raise self._classified(error) from None
        return self._reply(call, answer)

    async def _astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        from memagent.models.wire.transport import async_pieces
        from memagent.models.wire.turns import turns

        began = time.monotonic()
        await turns().take()  # hundreds of calls may begin at once, each with pictures to pack
        call = self._prepared(request, began)
        exchange = ask(max_tokens=request.max_tokens, tries=self._tries)
        try:
            async with aclosing(async_pieces(exchange, self._endpoint, call.body, deadline=call.deadline)) as pieces:
                async for piece in pieces:
                    yield self._reply(call, piece) if isinstance(piece, ChatAnswer) else piece
        except (BadAnswer, Disconnected, Expired) as error:
            raise self._classified(error) from None

    def _prepared(self, request: Request, began: float) -> _Call:
        require_sight(request.messages, self.reader, hint="If it does, load it with `sees_images=True`.")
        arguments = _arguments(self._model, request) | self._extra_body
        # Lone surrogates cannot be encoded and mean nothing to a tokenizer; they become question marks.
        body = json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace")
        seconds = self._timeout if request.timeout is None else request.timeout
        return _Call(request, body, visual_cost(request.messages, self.reader), began, began + seconds)

    def _reply(self, call: _Call, answer: ChatAnswer) -> Reply:
        spent = {"seconds": time.monotonic() - call.began}
        return Reply(
            text=answer.text,
            reasoning=answer.reasoning,
            usage=self._usage(call, answer).model_copy(update=spent),
            stop_reason="length" if answer.cut else "stop",
            model=self.name,
        )

    def _usage(self, call: _Call, answer: ChatAnswer) -> Usage:
        """The server's report, else an estimate. Servers count pictures into the prompt; here they are apart."""
        prompt, written = (_number(answer.usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        if written is None:
            written = self.reader.count(answer.text) + self.reader.count(answer.reasoning)
        if prompt is None:
            text_in = text_cost(call.request.messages, self.reader)
            return Usage(text_in=text_in, text_out=written, visual=call.visual, calls=1)
        if call.visual and not self._warned:
            self._warn_if_dearer(call.request, call.visual, prompt)
        return reported_usage(prompt, written, visual=call.visual)

    def _warn_if_dearer(self, request: Request, visual: int, prompt: int) -> None:
        """Log when the text, counted on the high side, and what a template may add do not explain the prompt's length."""
        text = text_cost(request.messages, self.reader)
        turns = len(request.messages) + sum(len(message.images) for message in request.messages)
        seen = prompt - text - _TEMPLATE_TOKENS - _TURN_TOKENS * turns
        if seen <= visual:
            return
        self._warned = True
        logger.warning(
            "`%s` at %s reported a prompt of %d tokens, of which some %d are text and %d were charged for pictures: "
            "pictures seem to cost %d or more there. Give its own price, `OpenAICompatibleModel(..., pricing=...)`, "
            "or set its image processor to `memagent_renderers.processor_limits(model.reader)`.",
            *(self.name, self._endpoint.shown, prompt, text, visual, seen),
        )

    def _classified(self, error: BadAnswer | Disconnected | Expired) -> ModelError:
        who = f"`{self.name}` at {self._endpoint.shown}"
        match error:
            case Expired():
                return ModelError(f"{who} did not answer in time", retryable=True)
            case Disconnected():
                return ModelError(f"no connection to {who} ({error})", retryable=True)
        return ModelError(
            self._endpoint.safe(f"{who} {error}"),
            retryable=error.retryable,
            status=error.status,
            request_id=error.request_id,
        )


class OllamaModel(OpenAICompatibleModel):
    """`model` at Ollama, by default on this machine (OLLAMA_BASE_URL, OLLAMA_API_KEY)."""

    provider = "ollama"
    default_url = "http://127.0.0.1:11434/v1"
    needs_key = False


class LMStudioModel(OpenAICompatibleModel):
    """`model` at LM Studio, by default on this machine (LMSTUDIO_BASE_URL, LMSTUDIO_API_KEY)."""

    provider = "lmstudio"
    default_url = "http://127.0.0.1:1234/v1"
    needs_key = False


class VLLMModel(OpenAICompatibleModel):
    """`model` at vLLM, by default on this machine (VLLM_BASE_URL, VLLM_API_KEY)."""

    provider = "vllm"
    default_url = "http://127.0.0.1:8000/v1"
    needs_key = False


def _json_object(given: Mapping[str, Json]) -> dict[str, Json]:
    """What is added to a request. Raises `InputError` for what JSON cannot hold."""
    try:
        found: dict[str, Json] = json.loads(json.dumps(dict(given)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f'extra_body is a dict that JSON can hold, such as {{"top_p": 0.9}}: {error}') from None
    return found


def _number(value: object) -> int | None:
    """A count that a server reports; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _arguments(model: str, request: Request) -> dict[str, Json]:
    """The call's arguments; what is at its default and only some servers know is left out."""
    if len(request.stop) > _MAX_STOPS:
        raise ConfigError(f"the OpenAI API takes {_MAX_STOPS} stop texts, not {len(request.stop)}")
    arguments: dict[str, Json] = {"model": model, **chat_request(request)}
    if re.match(r"o\d|gpt-5", model):  # such models think; they refuse a temperature and the older name of the limit
        del arguments["temperature"]
        arguments["max_completion_tokens"] = arguments.pop("max_tokens")
    if request.schema is not None:
        schema: dict[str, Json] = {"name": request.schema.__name__, "schema": request.schema.model_json_schema()}
        arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
    return arguments
