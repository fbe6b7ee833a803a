"""Models behind the OpenAI chat API: the hosted ones, and vLLM, Ollama, llama.cpp and others through `base_url`.

Such servers rarely lend their tokenizer, so `reader` estimates on the high side (`exact=False`); what a call really
cost is taken from the server's own report where it makes one. When that says that pictures cost more than they were
charged for, this is logged, once for each model: the server resizes them otherwise than its `pricing` says. Retries
(with back-off) and timeouts are the client's. Every failure becomes a `ModelError` that says whether trying again can
help; the key never appears in one.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import logging
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from memagent.errors import ConfigError, MissingExtra, MissingKey, ModelError
from memagent.models.base import ChatModel, Reply, Request, StopReason
from memagent.models.convert import chat_request, reported_usage, require_sight, text_cost, visual_cost
from memagent.types import Usage
from memagent_renderers.budget import ReaderProfile, estimate_tokens
from memagent_renderers.pricing import ImagePricing, pricing_for

logger = logging.getLogger(__name__)

_HOSTED = "https://api.openai.com/v1"
_SIGHTED = ("vl", "vision", "omni", "4o", "gpt-4.1", "gpt-5", "gemma-3", "llava", "pixtral")
_MAX_STOPS = 4
"""Stop texts that the API takes; further ones are refused by servers."""
_TEMPLATE_TOKENS = 48
"""Tokens of a prompt that nobody wrote: chat templates add a system text of their own (Qwen2.5 about 20, Llama 3 about 40)."""
_TURN_TOKENS = 8
"""And marks around each message (3 to 5 tokens) and each picture (2 to 3)."""


class OpenAICompatibleModel(ChatModel):
    """`model` at an OpenAI-compatible server.

    `base_url` is by default OPENAI_BASE_URL, else OpenAI's own; `api_key` is OPENAI_API_KEY (a server on this machine
    needs none, any other raises `MissingKey`). `sees_images` says whether the model takes pictures: None goes by the
    name (`vl`, `vision`, `omni`, `4o`, `gpt-5` and the like). `pricing` is what a picture costs there, by default what
    `pricing_for(model)` says; give it for a server with other limits than the model's published ones. `timeout` is in
    seconds for one attempt, of which there are `max_retries` + 1.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        max_retries: int = 2,
        timeout: float = 60.0,
        sees_images: bool | None = None,
        pricing: ImagePricing | None = None,
    ) -> None:
        if not model:
            raise ConfigError("which model? Name it as `openai:MODEL`, such as `openai:gpt-4o-mini`")
        self.name = f"openai:{model}"
        self._model = model
        self._url = base_url or os.environ.get("OPENAI_BASE_URL") or _HOSTED
        self._key = api_key or os.environ.get("OPENAI_API_KEY") or ("none-needed" if is_loopback(self._url) else "")
        if not self._key:
            raise MissingKey(f"{urlsplit(self._url).hostname} needs a key: set OPENAI_API_KEY, or pass `api_key=...`")
        self._transport = _Transport.loaded()
        self._client = _client(self._url, self._key, max_retries=max_retries, timeout=timeout)
        self.reader = ReaderProfile(
            name=self.name,
            count=estimate_tokens,
            exact=False,
            sees_images=any(mark in model.lower() for mark in _SIGHTED) if sees_images is None else sees_images,
            pricing=pricing_for(model) if pricing is None else pricing,
        )
        self._warned = False

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        require_sight(request.messages, self.reader, hint="If it does, load it with `sees_images=True`.")
        visual = visual_cost(request.messages, self.reader)
        start = time.perf_counter()
        text, finish, reported = "", None, None
        try:
            with self._client.chat.completions.create(**_arguments(self._model, request)) as chunks:
                for chunk in chunks:
                    if refusal := getattr(chunk, "error", None):  # some servers send an error as a chunk with status 200
                        raise ValueError(refusal.get("message", refusal) if isinstance(refusal, dict) else str(refusal))
                    reported = chunk.usage or reported
                    for choice in chunk.choices[:1]:
                        finish = choice.finish_reason or finish
                        if choice.delta and choice.delta.content:
                            text += choice.delta.content
                            yield choice.delta.content
        except Exception as error:
            ours = self._classified(error)
            if ours is error:
                raise
            raise ours from (None if self._key in str(error) else error)
        if finish == "content_filter":
            raise ModelError(f"`{self.name}` withheld its answer: its content filter was triggered")
        usage = self._usage(request, text, visual, reported).model_copy(update={"seconds": time.perf_counter() - start})
        reason: StopReason = "length" if finish == "length" else "stop"
        return Reply(text=text, usage=usage, stop_reason=reason, model=self.name)

    def _usage(self, request: Request, text: str, visual: int, reported: Any) -> Usage:
        """The server's report, else an estimate. Servers count pictures into the prompt; here they are apart."""
        if reported is None:
            text_in = text_cost(request.messages, self.reader)
            return Usage(text_in=text_in, text_out=self.reader.count(text), visual=visual, calls=1)
        prompt = reported.prompt_tokens or 0
        if visual and not self._warned:
            self._warn_if_dearer(request, visual, prompt)
        return reported_usage(prompt, reported.completion_tokens or 0, visual=visual)

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
            *(self.name, self._shown_url, prompt, text, visual, seen),
        )

    def _classified(self, error: Exception) -> Exception:
        """One of ours for one of the client library's; any other error as it is."""
        import openai

        if isinstance(error, (openai.APITimeoutError, *self._transport.timeouts)):
            return ModelError(f"`{self.name}` at {self._shown_url} did not answer in time", retryable=True)
        if isinstance(error, openai.APIStatusError):
            return self._refused(error)
        if isinstance(error, (openai.APIConnectionError, *self._transport.failures)):
            cause = type(error.__cause__ or error).__name__
            return ModelError(f"no connection to `{self.name}` at {self._shown_url} ({cause})", retryable=True)
        if isinstance(error, openai.OpenAIError | ValueError):
            return ModelError(self._safe(f"`{self.name}` at {self._shown_url} failed: {error}"))
        return error

    def _refused(self, error: Any) -> ModelError:
        """The server's own refusal, with its words, the status and the number under which its log has the request."""
        status: int = error.status_code
        if isinstance(error.body, dict):
            inner = error.body.get("error", error.body)
            words = inner.get("message", inner) if isinstance(inner, dict) else inner
        else:
            words = error.body or error.message
        hint = {401: "; check OPENAI_API_KEY", 404: "; check the model's name and the base URL"}.get(status, "")
        message = self._safe(f"`{self.name}` at {self._shown_url} answered {status}: {str(words)[:500]}{hint}")
        retryable = status in (408, 409, 429) or status >= 500
        return ModelError(message, retryable=retryable, status=status, request_id=error.request_id)

    @property
    def _shown_url(self) -> str:
        """The server without what may be secret in its address."""
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***")

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        self._client.close()


@dataclass(frozen=True)
class _Transport:
    """Errors of the HTTP libraries by which the client may speak: httpx, and httpx2 from openai 3 on."""

    timeouts: tuple[type[Exception], ...]
    failures: tuple[type[Exception], ...]

    @classmethod
    def loaded(cls) -> _Transport:
        """Loaded before the first call: the client looks at what is loaded, and threads must not see half a module."""
        names = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name) is not None]
        modules = [importlib.import_module(name) for name in names]
        return cls(tuple(one.TimeoutException for one in modules), tuple(one.HTTPError for one in modules))


def is_loopback(url: str) -> bool:
    """Whether the server at `url` is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _client(url: str, key: str, *, max_retries: int, timeout: float) -> Any:
    if not urlsplit(url).hostname:
        raise ConfigError(f"`{url}` is no address of a server; write it as http://127.0.0.1:8000/v1")
    try:
        from openai import OpenAI
    except ImportError as error:
        raise MissingExtra("openai", "pip install openai") from error
    return OpenAI(api_key=key, base_url=url, max_retries=max_retries, timeout=timeout)


def _arguments(model: str, request: Request) -> dict[str, Any]:
    """The call's arguments; what is at its default and only some servers know is left out."""
    if len(request.stop) > _MAX_STOPS:
        raise ConfigError(f"the OpenAI API takes {_MAX_STOPS} stop texts, not {len(request.stop)}")
    arguments: dict[str, Any] = {"model": model, **chat_request(request)}
    if re.match(r"o\d|gpt-5", model):  # such models think; they refuse a temperature and the older name of the limit
        del arguments["temperature"]
        arguments["max_completion_tokens"] = arguments.pop("max_tokens")
    if request.schema is not None:
        schema = {"name": request.schema.__name__, "schema": request.schema.model_json_schema()}
        arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.timeout is not None:
        arguments["timeout"] = request.timeout
    return arguments
