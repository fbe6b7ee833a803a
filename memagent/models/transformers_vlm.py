"""Text and vision-language models run by transformers, from a folder or the Hugging Face Hub.

`model.generate` runs in a thread of its own and hands each new token to the caller through a queue; closing the stream
stops it at the next token. What the model is given is made by `hf_processor`, which keeps pictures at the size they have,
so that the visual tokens a model reads are those that its `reader` charges. Without a schema-aware decoder here, a
schema is only checked on the answer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memagent.errors import ConfigError, MemAgentError, MissingExtra, ModelError
from memagent.models.base import ChatModel, Reply, Request
from memagent.models.convert import cut_at_stop, require_sight
from memagent.models.hf_processor import HfInput, HfTokens, config_pricing, picture_processor
from memagent.types import Usage
from memagent_renderers.budget import ReaderProfile

if TYPE_CHECKING:
    import torch

_SAMPLING = threading.Lock()
"""Held while a seeded answer is sampled: torch's random state belongs to the whole process."""


class TransformersModel(ChatModel):
    """The model `name`: a folder, or a repository of the Hub.

    `local_files_only` never asks the Hub. `device` is such as `cpu` or `cuda` (None: a GPU when there is one), `dtype`
    such as `bfloat16` (`auto`: as the weights are stored). Raises `MissingExtra` without torch and transformers, and
    `ConfigError` when the model cannot be loaded.
    """

    def __init__(self, name: str, *, local_files_only: bool = False, device: str | None = None, dtype: str = "auto") -> None:
        self.name = f"hf:{name}"
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra("transformers or torch", "pip install 'memagent[vlm]'") from error
        try:
            config = transformers.AutoConfig.from_pretrained(name, local_files_only=local_files_only)
            sees = getattr(config, "vision_config", None) is not None
            kind = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
            with _no_progress_bar():
                model = kind.from_pretrained(name, dtype=dtype, local_files_only=local_files_only)
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=local_files_only)
            pricing = config_pricing(config)
            processor = picture_processor(name, config, pricing, local_files_only=local_files_only) if sees else None
        except (OSError, ValueError, ImportError, KeyError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            message = f"`{self.name}` cannot be loaded: {first} Give a folder, or fetch it with: hf download {name}"
            raise ConfigError(message) from error
        self._model: Any = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self._tokens = HfTokens(tokenizer, name=self.name)
        self._input = HfInput(self._tokens, config, processor)
        self._limit = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or 1 << 20)
        self._running = threading.Lock()
        self.reader = ReaderProfile(name=self.name, count=self._tokens.count, exact=True, sees_images=sees, pricing=pricing)

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        require_sight(request.messages, self.reader, hint="Use an OCR reader.")
        if self._model is None:
            raise ModelError("this model has been closed")
        start = time.perf_counter()
        inputs, visual = self._input.encode(request.messages)
        prompt = int(inputs["input_ids"].shape[1])
        if prompt >= self._limit:
            raise ModelError(
                f"the prompt is {prompt} tokens and the context window of `{self.name}` {self._limit}; "
                "lower the memory's budget or start a new session"
            )
        run = _Run(self._generate, inputs, request, min(request.max_tokens, self._limit - prompt))
        pieces = cut_at_stop(self._decoded(run, start, request.timeout), request.stop)
        text, stopped = "", False
        try:
            while True:
                piece = next(pieces)
                text += piece
                yield piece
        except StopIteration as end:
            stopped = bool(end.value)
        finally:
            run.cancel()
        usage = Usage(text_in=prompt - visual, text_out=len(run.ids), visual=visual, calls=1)
        usage = usage.model_copy(update={"seconds": time.perf_counter() - start})
        ended = stopped or (bool(run.ids) and run.ids[-1] in self._end_ids())
        return Reply(text=text, usage=usage, stop_reason="stop" if ended else "length", model=self.name)

    def _generate(self, run: _Run) -> None:
        """Run in the thread of `run`: sample or search until the end, the limit, or a cancel."""
        import torch
        from transformers import GenerationConfig

        ends = self._end_ids()
        settings = GenerationConfig(
            max_new_tokens=run.limit,
            do_sample=run.request.temperature > 0,
            eos_token_id=ends or None,
            pad_token_id=self._tokens.pad if self._tokens.pad is not None else (ends or [0])[0],
            **({"temperature": run.request.temperature, "top_k": 0} if run.request.temperature > 0 else {}),
        )
        inputs = {key: value.to(self._model.device) for key, value in run.inputs.items()}
        with self._running, _SAMPLING, torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(run.request.seed)
            if not run.cancelled.is_set():
                self._model.generate(**inputs, generation_config=settings, streamer=run, stopping_criteria=[run.stop_now])

    def _decoded(self, run: _Run, start: float, timeout: float | None) -> Iterator[str]:
        """Text of the tokens as they come, whole characters only."""
        shown = ""
        for _ in run.tokens(self.name, start, timeout):
            text = self._tokens.decode(run.ids)
            if text.startswith(shown) and not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
        rest = self._tokens.decode(run.ids)
        if len(rest) > len(shown):
            yield rest[len(shown) :]

    def _end_ids(self) -> list[int]:
        """Tokens that end an answer, by the checkpoint's generation settings and its tokenizer."""
        configured = getattr(self._model.generation_config, "eos_token_id", None)
        ends = configured if isinstance(configured, list) else [configured]
        return [int(end) for end in dict.fromkeys([*ends, self._tokens.end]) if end is not None]

    def close(self) -> None:
        """Let go of the weights. Safe to call twice."""
        self._model = None


@contextmanager
def _no_progress_bar() -> Generator[None, None, None]:
    """Keep transformers from drawing on stderr while weights are loaded."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class _Run:
    """One generation in a thread: transformers puts tokens in (`put`, `end`), the reader takes them out (`tokens`)."""

    def __init__(self, generate: Any, inputs: dict[str, torch.Tensor], request: Request, limit: int) -> None:
        self.inputs, self.request, self.limit = inputs, request, limit
        self.ids: list[int] = []
        """Tokens taken out so far."""
        self.cancelled = threading.Event()
        self._generate = generate
        self._queue: queue.SimpleQueue[int | Exception | None] = queue.SimpleQueue()
        self._prompt_seen = False
        self._thread = threading.Thread(target=self._work, name="memagent-hf")

    def _work(self) -> None:
        try:
            self._generate(self)
            self._queue.put(None)
        except Exception as error:  # handed to the caller's thread, which raises it
            self._queue.put(error)

    def put(self, value: torch.Tensor) -> None:
        """Called by transformers: first with the prompt, then with each token."""
        if self._prompt_seen:
            for token in value.reshape(-1).tolist():
                self._queue.put(int(token))
        self._prompt_seen = True

    def end(self) -> None:
        """Called by transformers at the end; the thread's own end says so too."""

    def stop_now(self, ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
        """Whether to stop, a value for each row of the batch."""
        import torch

        return torch.full((ids.shape[0],), self.cancelled.is_set(), dtype=torch.bool, device=ids.device)

    def tokens(self, name: str, start: float, timeout: float | None) -> Iterator[int]:
        """Tokens as they come. Raises `ModelError` when generation fails or takes longer than `timeout`."""
        self._thread.start()
        while True:
            left = None if timeout is None else max(0.001, start + timeout - time.perf_counter())
            try:
                token = self._queue.get(timeout=left)
            except queue.Empty:
                raise ModelError(f"`{name}` did not finish within {timeout:g} s", retryable=True) from None
            if token is None:
                return
            if isinstance(token, MemAgentError):
                raise token
            if isinstance(token, Exception):
                raise ModelError(f"`{name}` failed: {type(token).__name__}: {token}") from token
            self.ids.append(token)
            yield token

    def cancel(self) -> None:
        """Stop at the next token and wait for that."""
        self.cancelled.set()
        if self._thread.ident is not None:
            self._thread.join()
