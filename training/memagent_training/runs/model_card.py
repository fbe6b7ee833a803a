"""The READMEs of a run and of an exported policy: what was trained how, and how to use what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from memagent_training.policy import PretrainedPolicy, TinyPolicy
from memagent_training.recipe import Recipe

Lines = Sequence[Mapping[str, float]]
"""Of `metrics.jsonl`."""


def model_card(recipe: Recipe, output: Path, lines: Lines, *, steps: int) -> str:
    """Markdown about a run of `steps` optimizer steps in the folder `output`."""
    return f"""# {recipe.name}, seed {recipe.seed}

{_made(recipe, lines, f"{steps} optimizer steps")}

## Export

```
memagent-train export {output} --out {output}-model
```

writes the policy as a model that loads by itself{_export_notes(recipe)}; `--step N` takes a checkpoint in place of the end.

## Use

{_usage(recipe, Path(f"{output}-model"), adapter=False)}

## Files

- `final`: the trained policy as it was at the end (a run that FSDP2 sharded has checkpoints only)
- `recipe.json`: every setting, and the machine
- `metrics.jsonl`, `training.png`: one line a log step, and their picture
- `checkpoint-N`: where `memagent-train run --resume` goes on
"""


def exported_card(recipe: Recipe, folder: Path, lines: Lines, *, step: int | None, adapter: bool) -> str:
    """Markdown about the policy in `folder`, exported from a checkpoint, or from the end of the run; with its recipe."""
    when = f"Checkpoint of step {step}" if step is not None else "End"
    kept = [line for line in lines if step is None or line["step"] <= step]
    settings = json.dumps(recipe.settings(), indent=1, default=str)
    return f"""# {recipe.name}, seed {recipe.seed}

{_made(recipe, kept, f"{when} of a run of `memagent-train`")}

## Use

{_usage(recipe, folder, adapter=adapter)}

## Recipe

```json
{settings}
```
"""


def _made(recipe: Recipe, lines: Lines, what: str) -> str:
    shown = [f"{line['reward']:.3f} at step {line['step']:.0f}" for line in lines if "reward" in line]
    reward = f" Mean reward of the rollouts: {shown[0]}, {shown[-1]}." if shown else ""
    start = f"`{recipe.policy.path}`" if isinstance(recipe.policy, PretrainedPolicy) else "random weights"
    deviations = "".join(f"\n- {one}" for one in recipe.deviations)
    return f"""{what}, from {start}, with allocator `{recipe.allocator.name}`, baseline `{recipe.baseline.name}`, credit
`{recipe.credit.name}` and objective `{recipe.objective.name}` on task `{recipe.task.name}`.{reward}

Source of the settings: {recipe.source or "none given"}.{" Deviations:" if deviations else ""}
{deviations}""".rstrip()


def _export_notes(recipe: Recipe) -> str:
    if isinstance(recipe.policy, TinyPolicy):
        return ""
    if recipe.policy.lora is None:
        return " (bfloat16; `--dtype float32` keeps all digits)"
    return " with `--merge` (its adapters merged into the start model); without it the adapters alone are written"


def _usage(recipe: Recipe, folder: Path, *, adapter: bool) -> str:
    policy = recipe.policy
    if isinstance(policy, TinyPolicy):
        return f"""```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
```

It knows the characters of its task only and has no chat template, so `memagent chat` cannot use it."""
    if adapter:
        return f"""These are LoRA adapters for `{policy.path}`. Served with it:

```
vllm serve {policy.path} --enable-lora --max-lora-rank {policy.lora.r if policy.lora else 16} --lora-modules policy={folder}
memagent chat -m vllm:policy
```

`memagent-train export RUN --merge` writes a model without adapters, for `memagent chat -m hf:`."""
    merge = "Exported with `--merge`:\n\n" if policy.lora is not None else ""
    return f"""{merge}```
memagent chat -m hf:{folder}
```

or on a server:

```
vllm serve {folder}
memagent chat -m vllm:{folder}
```"""
