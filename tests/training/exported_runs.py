"""Runs to export: trained for a step, and sharded by FSDP2 over processes.

RANK=0 WORLD_SIZE=2 ... python exported_runs.py FOLDER       # one of the processes that shard the runs in FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import PartialState

from memagent_training.policy import build_policy
from memagent_training.recipe import Recipe
from memagent_training.run import build_trainer, save_final, train, write_recipe
from memagent_training.runs.checkpoints import seal
from memagent_training.runs.probe import token_logprobs

LORA = {"r": 2, "alpha": 4, "target_modules": ["q_proj", "v_proj"]}
IDS = [3, 14, 15, 9, 2, 6, 5]


def recipe_of(start: Path, tasks: Path, *, lora: bool = False, vision: bool = False) -> Recipe:
    """One step of two prompts on the model in `start`."""
    if not tasks.exists():
        rows = [{"id": str(at), "prompt": f"{at}+1=", "answer": str(at + 1)} for at in range(4)]
        tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    policy: dict[str, Any] = {"kind": "pretrained", "path": str(start), "vision": vision, "dtype": "float32"}
    return Recipe.model_validate(
        {
            "name": "small",
            "policy": policy | ({"lora": LORA} if lora else {}),
            "task": {"kind": "file", "path": str(tasks)},
            "objective": {"max_tokens": 4},
            "baseline": {"kind": "v05"},  # with this prior replies that are all wrong teach something
            "prior": {"kind": "constant", "constant": 1.0},
            "rollouts": {"prompts": 2, "group_size": 2},
            "optimizer": {"steps": 1, "learning_rate": 0.01},
            "save_every": 1,
            "trl": {"use_cpu": True},
        }
    )


def trained(recipe: Recipe, folder: Path) -> Any:
    """The trainer of a run that is over, and left what runs leave in `folder`."""
    trainer = build_trainer(recipe, folder, quiet=True)
    write_recipe(recipe, folder)
    train(trainer)
    save_final(trainer, recipe)
    return trainer


def shard(folder: Path, recipe: Recipe) -> None:
    """As one of a group of processes: train the policy sharded, and save it as accelerate does under FSDP2."""
    import torch.distributed as dist
    from accelerate.utils.fsdp_utils import save_fsdp_model
    from torch.distributed.fsdp import StateDictType, fully_shard

    model, _processing, adapters = build_policy(recipe.policy, alphabet="", seed=0)
    if adapters is not None:
        from peft import get_peft_model

        model = get_peft_model(model, adapters)
    for layer in model.get_decoder().layers:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.05)
    for _ in range(3):
        model(input_ids=torch.tensor([IDS]), labels=torch.tensor([IDS])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    checkpoint = folder / "checkpoint-3"
    plugin = SimpleNamespace(fsdp_version=2, state_dict_type=StateDictType.SHARDED_STATE_DICT, state_dict_config=None)
    plugin.state_dict_config = SimpleNamespace(offload_to_cpu=False, rank0_only=False)
    plugin.cpu_offload = None
    save_fsdp_model(plugin, PartialState(), model, str(checkpoint), adapter_only=adapters is not None)
    logprobs = token_logprobs(model, IDS)
    if dist.get_rank() == 0:
        write_recipe(recipe, folder)
        (checkpoint / "probe.json").write_text(json.dumps({"ids": IDS, "logprobs": logprobs}))
        seal(checkpoint, {"step": 3})
    dist.barrier()


if __name__ == "__main__":
    torch.set_num_threads(1)
    PartialState(cpu=True)
    for one in sorted(Path(sys.argv[1]).glob("*.json")):
        shard(one.with_suffix(""), Recipe.model_validate(json.loads(one.read_text())))
    torch.distributed.destroy_process_group()
    os._exit(0)  # gloo's threads can abort a process that ends by itself
