"""The README of a run: what was trained how, and how to use the policy that came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from memagent_training.policy import TinyPolicy
from memagent_training.recipe import Recipe


def model_card(recipe: Recipe, final: Path, lines: Sequence[Mapping[str, float]], *, steps: int) -> str:
    """Markdown about a run of `steps` optimizer steps that saved its policy in `final`; `lines` are those of its log."""
    shown = [f"{line['reward']:.3f} at step {line['step']:.0f}" for line in lines if "reward" in line]
    reward = f" Mean reward of the rollouts: {shown[0]}, {shown[-1]}." if shown else ""
    deviations = "".join(f"\n- {one}" for one in recipe.deviations)
    return f"""# {recipe.name}, seed {recipe.seed}

{steps} optimizer steps with allocator `{recipe.allocator.name}`, baseline `{recipe.baseline.name}`, credit
`{recipe.credit.name}` and objective `{recipe.objective.name}` on task `{recipe.task.name}`.{reward}

Source of the settings: {recipe.source or "none given"}.{" Deviations:" if deviations else ""}
{deviations}

## How to use the policy

{_usage(recipe, final)}

## Files

- `final`: the trained policy
- `recipe.json`: every setting, and the machine
- `metrics.jsonl`, `training.png`: one line a log step, and their picture
- `checkpoint-N`: where `memagent-train run --resume` goes on
"""


def _usage(recipe: Recipe, final: Path) -> str:
    policy = recipe.policy
    if isinstance(policy, TinyPolicy):
        return f"""```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{final}")
tokenizer = AutoTokenizer.from_pretrained("{final}")
```

It knows the characters of its task only and has no chat template, so `memagent chat` cannot use it."""
    if policy.lora is None:
        return f"```\nmemagent chat -m hf:{final}\n```"
    return f"""`final` holds adapters for `{policy.path}`. Merged into it they are a model that loads by itself:

```python
from peft import PeftModel
from transformers import {(auto := "AutoModelForImageTextToText" if policy.vision else "AutoModelForCausalLM")}

base = {auto}.from_pretrained("{policy.path}")
PeftModel.from_pretrained(base, "{final}").merge_and_unload().save_pretrained("{final}-merged")
```

Copy the tokenizer and processor files of `{policy.path}` beside it; then `memagent chat -m hf:{final}-merged`."""
