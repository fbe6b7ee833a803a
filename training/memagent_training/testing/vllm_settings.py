"""How a `FakeVllmServer` was started, and what goes wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from memagent_training.testing.vllm_rule import Eye, Sampler

Dialect = Literal["0.31", "0.33"]
Json = dict[str, Any]


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(kw_only=True)
class ServerSettings:
    """How a server was started, and what goes wrong with it."""

    dialect: Dialect = "0.33"
    version: str = ""
    """That it says; "": that of the dialect."""
    model: str = "policy"
    eye: Eye | None = None
    """None: a model that does not see."""
    sampler: Sampler = field(default_factory=Sampler)
    max_model_len: int = 32_768
    max_num_seqs: int = 256
    dtype: str = "torch.bfloat16"
    logprobs_mode: Literal["processed_logprobs", "raw_logprobs"] = "processed_logprobs"
    scale_out: bool = True
    """`--enable-scale-out`"""
    dev_mode: bool = True
    """`VLLM_SERVER_DEV_MODE=1`"""
    lora_updating: bool = True
    """`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`"""
    max_loras: int = 3
    max_lora_rank: int = 32
    weight_transfer: bool = True
    """`--weight-transfer-config '{"backend": "nccl"}'`"""
    deaf: bool = False
    """Says that weights and adapters have come, and goes on with those it has."""
    latency: Callable[[str], float] | float = 0.0
    """Seconds that a request takes, or a function of its `request_id` that gives them."""
    drop_after: int | None = None
    """Requests for completions that are answered; the next one kills the server, which drops every connection from then on."""
    failures: Mapping[int, int] = field(default_factory=dict)
    """By number of request, the status with which it is refused."""
    misread: Callable[[list[int]], list[int]] = list
    """What the prompt becomes before the model reads it."""
