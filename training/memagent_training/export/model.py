"""The policy of a run, written as a model that loads by itself: weights, tokenizer, limits of pictures, README."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from memagent.errors import ConfigError
from memagent_training.export.run_folder import ADAPTER, SHARDS, RunFolder, SavedWeights, open_run, read_json
from memagent_training.export.shards import read_shards
from memagent_training.policy import PretrainedPolicy, build_policy
from memagent_training.processors import load_processor
from memagent_training.runs.callbacks import read_metrics
from memagent_training.runs.model_card import exported_card
from memagent_training.runs.probe import read_probe, token_logprobs

Dtype = Literal["float32", "bfloat16"]
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Most by which log-probabilities may differ, on average over the tokens of the probe, in nats."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how far it is from what was trained."""

    folder: Path
    step: int | None
    """Of the checkpoint; None: the end of the run."""
    dtype: Dtype
    gap: float | None
    """Mean |difference| of the log-probabilities of the stored prompt to those when it was saved; None: none was stored."""


def export_run(path: Path, out: Path, *, step: int | None = None, dtype: Dtype | None = None, merge: bool = False) -> Exported:
    """Write the policy of the run in `path` to the folder `out`, which must not be there.

    `step` names a checkpoint; None: the end of the run. `dtype` is that of the weights; None: bfloat16, and float32 for a tiny
    policy. Adapters stay adapters, in float32, unless `merge` makes them one with the model that they were trained on. The
    result is loaded again and compared with the prompt that was stored with the weights. Raises `ConfigError` for a run that
    is not whole or not to be trusted, and when the result is another model.
    """
    if out.exists():
        raise ConfigError(f"`{out}` is there already; give another --out")
    run = open_run(path)
    weights = run.weights(step)
    lora = getattr(run.recipe.policy, "lora", None)
    if merge and lora is None:
        raise ConfigError(f"`{path}` holds a whole policy and no adapters: leave --merge out")
    kept: Dtype = "float32" if lora is not None and not merge else dtype or _usual_dtype(run)
    draft = out.with_name(f".{out.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        model, processing = _trained(run, weights, merge=merge)
        _write(model, processing, draft, dtype=kept)
        lines = [line for line in read_metrics(path / "metrics.jsonl") if "reward" in line]
        card = exported_card(run.recipe, out, lines, step=weights.step, adapter=lora is not None and not merge)
        (draft / "README.md").write_text(card, "utf-8")
        del model
        gap = _compared(run, weights, draft, dtype=kept)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(folder=out, step=weights.step, dtype=kept, gap=gap)


def _usual_dtype(run: RunFolder) -> Dtype:
    return "bfloat16" if isinstance(run.recipe.policy, PretrainedPolicy) else "float32"


def _trained(run: RunFolder, weights: SavedWeights, *, merge: bool) -> tuple[Any, Any]:
    """The trained policy in float32, and its tokenizer or processor."""
    if weights.form == "full":
        return load_exported(run, weights.folder, dtype="float32"), _processing(run, weights.folder)
    start = run.recipe.policy
    if isinstance(start, PretrainedPolicy):
        start = start.model_copy(update={"dtype": "float32"})
    model, processing, adapters = build_policy(start, alphabet=run.recipe.task.alphabet, seed=run.recipe.seed)
    if adapters is None:
        if weights.form == "adapter":
            raise ConfigError(f"`{weights.folder}` holds adapters, but its recipe trains the whole policy")
        model.load_state_dict(read_shards(weights.folder / SHARDS, _shapes(model.state_dict())))
        return model, processing
    return _adapted(model, adapters, weights, merge=merge), processing


def _adapted(base: Any, adapters: Any, weights: SavedWeights, *, merge: bool) -> Any:
    """`base` under the adapters that were saved, or with them merged into it."""
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    model = get_peft_model(base, adapters)
    wanted = _shapes(get_peft_model_state_dict(model))
    state = load_file(weights.folder / ADAPTER) if weights.form == "adapter" else read_shards(weights.folder / SHARDS, wanted)
    if _shapes(state) != wanted:
        raise ConfigError(
            f"`{weights.folder}` holds adapters of another policy than its recipe's, or of other modules or ranks"
        )
    set_peft_model_state_dict(model, state)
    return model.merge_and_unload() if merge else model


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in state.items()}


def _write(model: Any, processing: Any, folder: Path, *, dtype: Dtype) -> None:
    import torch

    model.to(getattr(torch, dtype)).save_pretrained(folder)
    processing.save_pretrained(folder)
    if pictures := getattr(processing, "image_processor", None):
        pictures.save_pretrained(folder)  # the file that vLLM and older programs read; the processor's own names it otherwise


def _processing(run: RunFolder, folder: Path) -> Any:
    """Tokenizer or processor of a folder; that of the start model where it has none."""
    import transformers

    policy = run.recipe.policy
    source = str(folder) if (folder / "tokenizer_config.json").exists() else getattr(policy, "path", str(folder))
    try:
        if getattr(policy, "vision", False):
            return load_processor(source)
        return transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # the Rust part of tokenizers raises nothing narrower
        raise ConfigError(f"the tokenizer or processor in `{source}` cannot be read: {error}") from error


def load_exported(run: RunFolder, folder: Path, *, dtype: Dtype) -> Any:
    """A whole model of `run`'s kind from safetensors in `folder`. Raises `ConfigError` where a weight is missing."""
    import torch
    import transformers

    vision = getattr(run.recipe.policy, "vision", False)
    auto = transformers.AutoModelForImageTextToText if vision else transformers.AutoModelForCausalLM
    read_json(folder / "config.json")
    options = {"dtype": getattr(torch, dtype), "use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
    try:
        model, report = auto.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ConfigError(f"`{folder}` does not load: {error}") from error
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(f"`{folder}` lacks {len(missing)} weights of the policy, such as {missing[0]}")
    return model


def _compared(run: RunFolder, weights: SavedWeights, folder: Path, *, dtype: Dtype) -> float | None:
    """Load what was written; its gap to the probe of the weights. Raises `ConfigError` when it is too large."""
    if (folder / ADAPTER).exists():
        written = SavedWeights(folder, "adapter")
        model = _trained(run, written, merge=False)[0]
    else:
        model = load_exported(run, folder, dtype=dtype)
    probe = read_probe(weights.folder)
    if probe is None:
        return None
    if max(probe.ids) >= model.get_input_embeddings().weight.shape[0]:
        raise ConfigError(f"the probe in `{weights.folder}` has tokens that the policy does not know")
    gap = fmean(abs(now - then) for now, then in zip(token_logprobs(model, probe.ids), probe.logprobs, strict=True))
    coarse = "bfloat16" in (dtype, getattr(run.recipe.policy, "dtype", "")) or run.recipe.trl.get("bf16")
    passes = "bfloat16" if coarse else "float32"
    if not gap <= TOLERANCE[passes]:
        start = getattr(run.recipe.policy, "path", "")
        raise ConfigError(
            f"what was written is not what was trained: log-probabilities of the stored prompt differ by {gap:.3g} nats a "
            f"token on average, allowed are {TOLERANCE[passes]:g}; is `{start}` the model that the run started from?"
        )
    return gap
