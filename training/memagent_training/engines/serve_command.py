"""The `vllm serve` command for a recipe: its model, limits of pictures, lengths and adapters, as the engine `http` needs them.

All of it follows from the recipe, so that trainer and servers read the same prompts. Flags are those of the vLLM that is
named: before 0.30 there is no `--enable-scale-out`, and no endpoint that takes pictures with token ids.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from memagent.errors import ConfigError
from memagent_renderers import PatchPricing
from memagent_renderers.budget import processor_limits
from memagent_renderers.pricing import pricing_for
from memagent_training.engines.adapters import KEPT
from memagent_training.engines.http import HttpEngine
from memagent_training.engines.server_probe import PICTURES_SINCE, RANKS, version_number
from memagent_training.policy import PretrainedPolicy
from memagent_training.recipe import Recipe

ENVIRONMENT = "VLLM_SERVER_DEV_MODE=1 VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"


def serve_commands(recipe: Recipe, *, version: str = "0.30") -> list[str]:
    """One command for each server of a recipe with engine `http`, else one.

    Raises `ConfigError` for a policy that vLLM cannot serve, or this version of it.
    """
    policy = recipe.policy
    if not isinstance(policy, PretrainedPolicy):
        raise ConfigError(f'vLLM serves checkpoints, and recipe "{recipe.name}" has a policy "{policy.kind}"')
    words = [*_model(policy, _number(version)), *_length(recipe), *_adapters(policy), *_pictures(policy)]
    engine = recipe.engine
    if not isinstance(engine, HttpEngine):
        return [f"{ENVIRONMENT} {shlex.join(words)}"]
    ports = [urlsplit(url).port or 80 for url in engine.servers]
    return [f"{ENVIRONMENT} {shlex.join([*words, '--port', str(port)])}" for port in ports]


def _number(version: str) -> tuple[int, int]:
    if (found := version_number(version)) is not None:
        return found
    raise ConfigError(f"`{version}` is no version of vLLM; give it as `vllm --version` prints it, such as 0.30.0")


def _model(policy: PretrainedPolicy, version: tuple[int, int]) -> list[str]:
    if policy.vision and version < PICTURES_SINCE:
        raise ConfigError("pictures are sent with token ids, which vLLM takes since 0.30; use a newer one for this recipe")
    words = ["vllm", "serve", policy.path, "--dtype", "bfloat16", "--generation-config", "vllm"]
    words += ["--logprobs-mode", "processed_logprobs", "--enable-prefix-caching"]
    return [*words, *(["--enable-scale-out"] if version >= PICTURES_SINCE else [])]


def _length(recipe: Recipe) -> list[str]:
    """What is said in [trl], else what the objective's longest conversation comes to; nothing where it cannot tell."""
    length = recipe.trl.get("vllm_max_model_length")
    if length is None and hasattr(recipe.objective, "context_tokens"):
        length = 1024 * -(-recipe.objective.context_tokens() // 1024)
    return [] if length is None else ["--max-model-len", str(length)]


def _adapters(policy: PretrainedPolicy) -> list[str]:
    """Slots for the versions that are kept, and for the next, which is loaded before the oldest goes."""
    if policy.lora is None:
        return ["--weight-transfer-config", json.dumps({"backend": "nccl"})]
    rank = next((rank for rank in RANKS if rank >= policy.lora.r), None)
    if rank is None:
        raise ConfigError(f"vLLM takes adapters up to rank {RANKS[-1]}; policy.lora.r is {policy.lora.r}")
    if policy.vision and policy.lora.target_modules == "all-linear":
        raise ConfigError(
            'policy.lora.target_modules = "all-linear" puts adapters on the vision tower too, which vLLM does not serve; '
            "name the modules of the language part"
        )
    return ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(KEPT + 1)]


def _pictures(policy: PretrainedPolicy) -> list[str]:
    """The limits of the trainer's processor. Of a checkpoint that is not here the name says how large a cell is; its own limits
    would enlarge the smallest pictures."""
    if not policy.vision:
        return []
    if Path(policy.path).is_dir():
        from transformers import AutoConfig

        from memagent_training.tokenization import picture_limits

        limits = picture_limits(AutoConfig.from_pretrained(policy.path, trust_remote_code=False))
    else:
        named = pricing_for(policy.path)
        if not isinstance(named, PatchPricing):
            raise ConfigError(f"policies that see are of the Qwen-VL family, and `{policy.path}` is none by its name")
        limits = processor_limits(PatchPricing(cell=named.cell))
    return ["--mm-processor-kwargs", json.dumps(limits)]
