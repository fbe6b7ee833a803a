"""Samples on `vllm serve` replicas that somebody else runs: tokens in, tokens out, one request a turn.

The attempts of a group share the beginning of their prompts, so they go to one server, whose prefix cache then holds it; which
one follows from the group's name and the servers' addresses. Where a server fails, its requests are asked again on the next,
with the same seed, so that what is said does not depend on who said it. Weights travel as files of LoRA adapters (`adapters`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from memagent.errors import ConfigError, EngineError
from memagent.models.hf_processor import config_pricing
from memagent_renderers import PatchPricing
from memagent_training.engines.adapters import AdapterFiles
from memagent_training.engines.base import Completion, PolicyHost, Prompt, Served, WeightSender, WithoutTrlsVllm
from memagent_training.engines.broadcast import Broadcast, NcclBroadcast
from memagent_training.engines.replica import Replica, Sampling, reached
from memagent_training.engines.server_probe import Wanted, wrong_settings
from memagent_training.engines.transfer import WeightTransfer

log = logging.getLogger("memagent.training")

PAUSE_S = 0.5
"""Seconds before a request is asked again; doubled for the next time."""


@dataclass(kw_only=True)
class HttpEngine(WithoutTrlsVllm):
    """Stock vLLM servers at `servers`. Start them with `--logprobs-mode processed_logprobs`, for adapters also with
    `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, for pictures with `--enable-scale-out`."""

    name: ClassVar[str] = "http"
    broadcast: ClassVar[type[Broadcast]] = NcclBroadcast
    """The wire of whole weights."""

    servers: tuple[str, ...] = ("http://127.0.0.1:8000",)
    """Addresses without `/v1`, one for each replica."""
    model: str = ""
    """The name under which the servers have the start model; "": what the first says."""
    weights: Literal["adapter", "whole", "fixed"] = "adapter"
    """`adapter`: each version is sent as a LoRA adapter. `whole`: all weights are, by NCCL, for which the trainer needs the
    servers' vLLM. `fixed`: the servers keep what they were started with."""
    folder: str = ""
    """Where adapters are written and servers read them; "": `adapters` in the run's folder."""
    concurrency: int = 256
    """Completions that a process asks a server for at once: its --max-num-seqs over the number of processes."""
    timeout_s: float = 600.0
    """Seconds that one completion may take."""
    tries: int = 3
    """Times that a request is asked, each on another server as far as there are any."""
    max_gap: float = 1.0
    """Nats a token, on average over a role, that the sampler's scores may differ from the trainer's in the first batch."""
    # without defaults, so that they are no settings of a recipe
    _host: PolicyHost = field(init=False, repr=False, compare=False)
    _replicas: list[Replica] = field(init=False, repr=False, compare=False)
    _sampling: Sampling = field(init=False, repr=False, compare=False)
    _sender: WeightSender | None = field(init=False, repr=False, compare=False)
    _version: int | None = field(init=False, repr=False, compare=False)
    """Of the weights that were sent last."""
    _served: Served = field(init=False, repr=False, compare=False)
    """What is asked for. The servers that are `down` are not asked in this batch any more."""

    def __post_init__(self) -> None:
        if not self.servers or len(set(self.servers)) != len(self.servers):
            raise ConfigError(f"engine.servers names each replica once, and at least one; it is {list(self.servers)}")
        for name in ("concurrency", "timeout_s", "tries", "max_gap"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"engine.{name} is {getattr(self, name)}; give more than 0")

    def available(self) -> str | None:
        """vLLM is needed here where whole weights are sent."""
        return self.broadcast.missing() if self.weights == "whole" else None

    def check(self, *, use_vllm: bool, adapters: bool) -> None:
        """Raises `ConfigError` where vLLM would run here too, and where what is trained is not what is sent."""
        super().check(use_vllm=use_vllm, adapters=adapters)
        if self.weights == "adapter" and not adapters:
            raise ConfigError(
                'engine "http" sends weights as LoRA adapters, and the whole policy is trained: set engine.weights = "whole", '
                'or policy.lora, use engine "vllm", or sample from the servers\' own weights with engine.weights = "fixed"'
            )
        if self.weights == "whole" and adapters:
            raise ConfigError(
                'engine.weights = "whole" sends all weights, and adapters are trained: leave it out, they travel as files'
            )

    def start(self, host: PolicyHost) -> None:
        """Look whether the servers are there and have what the run needs. Raises `ConfigError` or `EngineError`."""
        self.check(use_vllm=host.use_vllm, adapters=hasattr(host.model, "peft_config"))
        if (problem := self.available()) is not None:
            raise ConfigError(problem)
        self._host, self._version = host, None
        self._replicas = [Replica(url.rstrip("/"), concurrency=self.concurrency) for url in self.servers]
        args = host.args
        self._sampling = Sampling(
            temperature=args.temperature,
            top_p=args.top_p,
            top_k=args.top_k or 0,
            min_p=args.min_p or 0.0,
            repetition_penalty=args.repetition_penalty,
            stop_token_ids=tuple(host.eos_token_ids),
        )
        names = asyncio.run(self._replicas[0].served())
        self.model = self.model or next(name for name, adapter in names.items() if not adapter)
        self._served = Served(self.model, "", set())
        self._sender = self._send_by()

    def _send_by(self) -> WeightSender | None:
        if self.weights == "adapter":
            return AdapterFiles(Path(self.folder or Path(self._host.args.output_dir) / "adapters").absolute())
        return WeightTransfer(self.model, self.broadcast) if self.weights == "whole" else None

    def probe(self) -> None:
        """Ask the servers whether they were started as the run needs. All processes call it.

        Raises `ConfigError` with a line for each setting that is wrong, or `EngineError` where no server answers.
        """
        problem: tuple[type[EngineError | ConfigError], str] | None = None
        if self._host.accelerator.is_main_process:
            try:
                if lines := asyncio.run(self._wrong_settings()):
                    problem = ConfigError, "\n".join(lines)
            except EngineError as error:
                problem = EngineError, str(error)
        if (problem := self._host.broadcast(problem)) is not None:
            kind, said = problem
            raise kind(said)

    async def _wrong_settings(self) -> list[str]:
        host, model = self._host, self._host.model
        passes = "bfloat16" if host.args.bf16 else str(model.dtype).removeprefix("torch.")
        sees = getattr(host.processing_class, "image_processor", None) is not None
        pricing = config_pricing(model.config) if sees else None
        wanted = Wanted(
            dtypes=tuple(dict.fromkeys((passes, "bfloat16"))),  # bfloat16 is what `serve-command` says
            lora_rank=next(iter(model.peft_config.values())).r if self.weights == "adapter" else None,
            whole=self.weights == "whole",
            pictures=pricing if isinstance(pricing, PatchPricing) else None,
        )
        lines: dict[str, list[str]] = {}

        async def ask(one: Replica) -> None:
            lines[one.url] = await wrong_settings(
                one, wanted, model=self.model, sampling=self._sampling, tokenizer=host.policy_tokenizer
            )

        await reached(self._replicas, ask)
        return [line for one in self._replicas for line in lines.get(one.url, ())]

    @contextmanager
    def batch(self, version: int) -> Iterator[None]:
        """Send the weights of `version`, unless they were sent before, to all servers that answer."""
        if self._sender is None:
            self._served.down.clear()
        elif version != self._version:
            self._served = self._sender.send(self._host, self._replicas)
            self._version = version
        yield

    async def complete(self, prompt: Prompt) -> Completion:
        """Sample one prompt. Raises `EngineError`: retryable when no server did it, else a setting is wrong."""
        for number in range(self.tries):
            replica = self._replica(prompt.group, number)
            try:
                return await replica.complete(
                    prompt,
                    model=self._served.model,
                    sampling=self._sampling,
                    timeout=self.timeout_s,
                    version=self._served.version,
                )
            except EngineError as error:
                if not error.retryable or number == self.tries - 1:
                    raise
                if error.status is None and replica.url not in self._served.down:
                    log.warning("%s; asking elsewhere", error)
                if error.status in (None, 404):
                    self._served.down.add(replica.url)
            await asyncio.sleep(PAUSE_S * 2**number)
        raise AssertionError("unreachable")

    def _replica(self, group: str, number: int) -> Replica:
        """Where a group goes at its `number`-th try: each group has an order of its own of the servers that are up."""

        def place(replica: Replica) -> bytes:
            return hashlib.blake2b(f"{group}\x1f{replica.url}".encode(), digest_size=8).digest()

        up = [one for one in self._replicas if one.url not in self._served.down] or self._replicas
        return sorted(up, key=place)[number % len(up)]
