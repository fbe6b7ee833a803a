"""One `vllm serve` process, spoken to by token ids over HTTP.

Prompts with pictures go to `/inference/v1/generate` as ids with one token a picture and the pictures beside them, and come back
with the ids that the model read; text goes to `/v1/completions`, which every version has. All that decides how a token is
sampled is sent each time, so that no `generation_config.json` of a server has a say. A call that is given up closes its
connection, which stops the request at the server. vLLM 0.30 and later take pictures; tested with the dialects of 0.31 and 0.33.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from memagent.errors import EngineError
from memagent.models.wire.answer import BadAnswer
from memagent.models.wire.endpoint import Endpoint
from memagent.models.wire.exchange import Disconnected, Expired
from memagent.models.wire.transport import async_whole
from memagent_training.engines.base import Completion, Prompt

log = logging.getLogger("memagent.training")

CONTROL_S = 60.0
"""Seconds that a call which samples nothing may take."""
_MOST_BYTES = 256_000_000
_HIDDEN = -9999.0
"""What vLLM 0.33 sends for a log-probability that is no number."""
_ELSEWHERE = (404, 408, 425, 429, 503)
"""Refusals after which another server may say yes: 404 is a restarted server that lacks the adapter."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How every token of a run is sampled."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0: all tokens."""
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop_token_ids: tuple[int, ...] = ()

    def params(self, prompt: Prompt) -> dict[str, Any]:
        """`sampling_params` of a request."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "stop_token_ids": list(self.stop_token_ids),
            "skip_special_tokens": False,
            "logprobs": 0,  # of the sampled token alone
            "max_tokens": prompt.max_tokens,
            "seed": prompt.seed,
        }


class ServerReply(NamedTuple):
    """What a server answered to one prompt."""

    choice: dict[str, Any]
    read: Sequence[int] | None
    """The prompt's ids as the model read them."""
    scores: Sequence[float | None] | None


@dataclass(eq=False)
class Replica:
    """A server by its address, without `/v1`. `concurrency` bounds the completions that are asked for at once."""

    url: str
    concurrency: int = 256
    _endpoints: dict[str, Endpoint] = field(default_factory=dict, init=False, repr=False)
    _slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    async def call(self, path: str, body: Mapping[str, Any] | None = None, *, timeout: float = CONTROL_S) -> dict[str, Any]:
        """A POST of `body`, or a GET without one.

        Raises `EngineError`, retryable when another server, or this one later, may answer.
        """
        data = b"" if body is None else json.dumps(body).encode()
        endpoint = self._endpoints.setdefault(path, Endpoint(self.url, call=path))
        try:
            reply = await async_whole(endpoint, data, deadline=time.monotonic() + timeout, most_bytes=_MOST_BYTES)
            found = json.loads(reply or b"{}")
        except BadAnswer as error:
            elsewhere = error.status in _ELSEWHERE
            raise EngineError(f"{self.url}{path} {error}", retryable=elsewhere, status=error.status) from None
        except Expired:
            raise EngineError(f"{self.url}{path} did not answer in {timeout:g} s", retryable=True) from None
        except (Disconnected, ValueError) as error:
            raise EngineError(f"no connection to {self.url}{path} ({error})", retryable=True) from None
        return found if isinstance(found, dict) else {}

    async def complete(
        self, prompt: Prompt, *, model: str, sampling: Sampling, timeout: float, version: str = ""
    ) -> Completion:
        """Ask, as soon as there is room. Raises `EngineError`, not retryable for a prompt that was read otherwise.

        With `version`, a server that says that other weights sampled is one that was started again: retryable.
        """
        slots = self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.concurrency))
        ask = self._with_pictures if prompt.images else self._text
        try:
            async with slots:
                choice, read, scores = await ask(prompt, model, sampling.params(prompt), timeout)
        except EngineError as error:
            if error.status != 400:
                raise
            raise EngineError(
                f"{error}; the prompt of a `{prompt.role}` has {len(prompt.ids)} tokens and may get {prompt.max_tokens} more: "
                "start the servers with a longer --max-model-len, or lower the task's chunks or `objective.max_tokens`",
                status=400,
            ) from None
        others = {str(span["version"]) for span in choice.get("weight_versions") or ()} - {version}
        if version and others:
            raise EngineError(f"{self.url} sampled with weights `{others.pop()}`, not `{version}`", retryable=True)
        return self._said(prompt, read, choice, scores)

    async def _text(self, prompt: Prompt, model: str, params: dict[str, Any], timeout: float) -> ServerReply:
        body = {"model": model, "prompt": list(prompt.ids), "request_id": prompt.name, "return_token_ids": True, **params}
        reply = await self.call("/v1/completions", body, timeout=timeout)
        choice = self._choice(reply)
        return ServerReply(choice, choice.get("prompt_token_ids"), (choice.get("logprobs") or {}).get("token_logprobs"))

    async def _with_pictures(self, prompt: Prompt, model: str, params: dict[str, Any], timeout: float) -> ServerReply:
        parts = [
            {"type": "image_url", "url": f"data:image/png;base64,{base64.b64encode(png).decode()}"} for png in prompt.images
        ]
        body = {
            "model": model,
            "request_id": prompt.name,
            "token_ids": list(prompt.wire_ids),
            "content_parts": parts,
            "sampling_params": params,
            "return_token_ids": True,
        }
        reply = await self.call("/inference/v1/generate", body, timeout=timeout)
        choice = self._choice(reply)
        content = (choice.get("logprobs") or {}).get("content")
        scores = None if content is None else [entry.get("logprob") for entry in content]
        return ServerReply(choice, reply.get("prompt_token_ids"), scores)

    def _choice(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        match reply:
            case {"choices": [dict() as choice, *_]} if isinstance(choice.get("token_ids"), list):
                return choice
        raise EngineError(f"{self.url} gave no token ids; vLLM 0.30 and later give them: {str(reply)[:200]}")

    def _said(
        self, prompt: Prompt, read: Sequence[int] | None, choice: Mapping[str, Any], scores: Sequence[float | None] | None
    ) -> Completion:
        if read is None:
            raise EngineError(f"{self.url} did not say what prompt it read; vLLM 0.30 and later do (`return_token_ids`)")
        prompt.check_read(read, by=self.url)
        if choice.get("finish_reason") not in ("stop", "length"):  # an abort: the sampler was stopped, not the policy
            raise EngineError(f"{self.url} gave up `{prompt.name}` ({choice.get('finish_reason')})", retryable=True)
        ids = tuple(choice["token_ids"])
        known = None if scores is None else tuple(math.nan if one in (None, _HIDDEN) else float(one) for one in scores)
        if known is not None and len(known) != len(ids):
            raise EngineError(f"{self.url} gave {len(known)} log-probabilities for {len(ids)} tokens")
        return Completion(ids=ids, logprobs=known, finished=choice["finish_reason"] == "stop", server=self.url)

    # -- weights ----------------------------------------------------------------------------------------------------------

    async def load_adapter(self, name: str, folder: str) -> None:
        """Serve the adapter in `folder`, which the server reads itself, under a name that it has never had."""
        body = {"lora_name": name, "lora_path": folder, "load_inplace": False}
        try:
            await self.call("/v1/load_lora_adapter", body)
        except EngineError as error:
            if error.status != 404:
                raise
            raise EngineError(
                f"{self.url} takes no adapter from {folder}: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and "
                "--enable-lora, and put `engine.folder` where it can read",
                status=404,
            ) from None
        if name not in await self.served():
            raise EngineError(f"{self.url} does not serve adapter `{name}` after it was sent: it did not take it")

    async def served(self) -> dict[str, bool]:
        """The names that can be asked for, and whether each is an adapter."""
        found = (await self.call("/v1/models"))["data"]
        return {str(one["id"]): bool(one.get("parent")) for one in found}

    async def unload_adapter(self, name: str) -> None:
        """Serve an adapter no longer; one that is not there is no error."""
        try:
            await self.call("/v1/unload_lora_adapter", {"lora_name": name})
        except EngineError as error:
            if error.status not in (400, 404):
                raise

    async def config(self) -> dict[str, Any]:
        """vLLM's own `vllm_config`, which a server tells with VLLM_SERVER_DEV_MODE=1."""
        try:
            found = (await self.call("/server_info?config_format=json"))["vllm_config"]
        except EngineError as error:
            if error.status != 404:
                raise
            raise EngineError(f"{self.url} tells nothing of itself: start it with VLLM_SERVER_DEV_MODE=1") from None
        return dict(found)

    async def dtype(self) -> str:
        """In which it holds weights, by the name that torch has for it."""
        return str((await self.config())["model_config"]["dtype"]).removeprefix("torch.")

    async def longest(self) -> int:
        """Most tokens of a prompt and its answer."""
        return int((await self.call("/v1/models"))["data"][0]["max_model_len"])

    async def workers(self) -> int:
        """Processes that its weights are shared out to."""
        return int((await self.call("/get_world_size"))["world_size"])

    async def weight_version(self) -> str:
        """Name of the whole weights that it has."""
        try:
            return str((await self.call("/weight_info"))["weight_version"])
        except EngineError as error:
            if error.status != 404:
                raise
            raise EngineError(
                f"{self.url} does not say which weights it has: start vLLM 0.30 or later with VLLM_SERVER_DEV_MODE=1"
            ) from None

    async def join(self, init_info: Mapping[str, Any], *, timeout: float) -> None:
        """Be one of the group that `init_info` describes; the trainer must come to it at the same time."""
        try:
            await self.call("/init_weight_transfer_engine", {"init_info": dict(init_info)}, timeout=timeout)
        except EngineError as error:
            raise EngineError(
                f"{error}; whole weights need servers started with VLLM_SERVER_DEV_MODE=1 and "
                """--weight-transfer-config '{"backend": "nccl"}', of the vLLM that the trainer has"""
            ) from None

    async def update_weights(self, updates: Sequence[Mapping[str, Any]], *, version: str) -> None:
        """Let the server take the weights that a transfer described by `updates` brings, under the name `version`.

        What was computed with the old ones is forgotten, without which they would go on answering. Raises `EngineError` where
        the server says another name afterwards.
        """
        await self.call("/start_weight_update", {"is_checkpoint_format": True})
        for info in updates:
            await self.call("/update_weights", {"update_info": dict(info)}, timeout=1800)
        await self.call("/finish_weight_update", {"weight_version": version})
        await self.call("/reset_prefix_cache", {})
        if (said := await self.weight_version()) != version:
            raise EngineError(f"{self.url} has weights `{said}` after `{version}` were sent: it did not take them")

    async def pause(self, mode: str = "wait") -> None:
        """Take no request up; `mode` says what becomes of those under way: `abort`, `wait` for them, `keep` them for later."""
        await self.call(f"/pause?mode={mode}", {}, timeout=1800)

    async def resume(self) -> None:
        """Take requests up again."""
        await self.call("/resume", {})


async def reached(replicas: Sequence[Replica], do: Callable[[Replica], Awaitable[None]]) -> set[str]:
    """Call each server; the addresses of those that cannot be reached.

    Raises `EngineError` where one refuses, or none answers.
    """
    failed = {one.url: error for one, error in await everywhere(replicas, do) if error is not None}
    for url, error in failed.items():
        if not error.retryable or len(failed) == len(replicas):
            raise error
        log.warning("%s is left out of this batch: %s", url, error)
    return set(failed)


async def everywhere(
    replicas: Sequence[Replica], do: Callable[[Replica], Awaitable[None]]
) -> list[tuple[Replica, EngineError | None]]:
    """How one call to each server ended."""

    async def tried(replica: Replica) -> EngineError | None:
        try:
            await do(replica)
        except EngineError as error:
            return error
        return None

    return list(zip(replicas, await asyncio.gather(*map(tried, replicas)), strict=True))
