"""Whole weights of a policy that FSDP2 shards, as an engine that sends them takes them.

RANK=0 WORLD_SIZE=2 ... python sharded_weights.py FOLDER       # one of the processes
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from helpers.checkpoints import tiny_llama
from trl.distributed import DistributedBackend

from memagent_training.engines.transfer import whole_weights


def sharded(model: Any) -> Any:
    """The trainer of `model`, as far as it is looked at."""
    from torch.distributed.fsdp import fully_shard

    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    accelerator = Accelerator(cpu=True)
    return SimpleNamespace(model_wrapped=model, accelerator=accelerator, _dist=DistributedBackend(accelerator))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    host = sharded(tiny_llama()[0])
    weights = dict(whole_weights(host, "bfloat16"))
    assert any(one.to_local().numel() < one.numel() for one in host.model_wrapped.parameters()), "nothing was sharded"
    if torch.distributed.get_rank() == 0:
        torch.save(weights, Path(sys.argv[1]) / "weights.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # gloo's threads can abort a process that ends by itself
