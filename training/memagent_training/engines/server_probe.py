"""Whether servers were started as a run needs them, asked once before it begins: a line for each setting that is wrong.

What a server says of itself is believed (version, type of weights, adapters); how it scores and how large it sees pictures is
tried, since that is what the gap between sampler and trainer would be made of.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from memagent.errors import EngineError
from memagent.models.base import Request
from memagent.types import ImagePart, user_message
from memagent_renderers import PatchPricing
from memagent_renderers.budget import processor_limits
from memagent_training.engines.adapters import KEPT
from memagent_training.engines.base import Prompt, PromptTensors
from memagent_training.engines.replica import CONTROL_S, Replica, Sampling

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""That vLLM takes as --max-lora-rank."""
PICTURES_SINCE = (0, 30)
LARGEST = 4096
"""Tokens of the largest picture that is tried, where a conversation would hold a larger one."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run asks of each server."""

    dtypes: tuple[str, ...]
    """In which weights may be held, by torch's names; the first is told."""
    lora_rank: int | None
    """Of the adapters that are sent; None: none are."""
    whole: bool
    """Whether whole weights are sent."""
    pictures: PatchPricing | None
    """What the trainer counts for a picture; None: none is shown."""


async def wrong_settings(
    replica: Replica, wanted: Wanted, *, model: str, sampling: Sampling, tokenizer: PromptTensors
) -> list[str]:
    """A line for each, with what to start the server with. Raises `EngineError` where it does not answer."""
    told = await replica.call("/version")
    old = _version(str(told.get("version", "")), wanted)
    lines = [*old, *await _config(replica, wanted)]
    text = Prompt(ids=tuple(tokenizer.encode(Request((user_message("a"),))).ids), max_tokens=1, role="probe")
    said = await replica.complete(text, model=model, sampling=replace(sampling, top_k=1), timeout=CONTROL_S)
    if said.logprobs is None or abs(said.logprobs[0]) > 1e-3:  # the best token alone is left, and is certain
        lines.append("it scores tokens before temperature, top-k and top-p: start it with --logprobs-mode processed_logprobs")
    if wanted.pictures is not None and not old:
        lines += await _pictures(replica, wanted.pictures, model=model, sampling=sampling, tokenizer=tokenizer)
    return [f"{replica.url}: {line}" for line in lines]


def version_number(version: str) -> tuple[int, int] | None:
    """Major and minor number of a vLLM; None where it has none, as some that were built from source."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return None if found is None else (int(found[1]), int(found[2]))


def _version(told: str, wanted: Wanted) -> list[str]:
    needed = "takes pictures since" if wanted.pictures else "names its weights since" if wanted.whole else ""
    number = version_number(told)
    if not needed or number is None or number >= PICTURES_SINCE:
        return []
    return [f"it is vLLM {told}, which {needed} 0.30: install vllm>=0.30 there"]


async def _config(replica: Replica, wanted: Wanted) -> list[str]:
    """What it says of its configuration; nothing is wrong where it need not say it and does not."""
    try:
        config = await replica.config()
    except EngineError as error:
        if error.status is None and error.retryable:
            raise
        return ["it takes no weights and says nothing of itself: start it with VLLM_SERVER_DEV_MODE=1"] if wanted.whole else []
    lines = []
    dtype = str(config["model_config"]["dtype"]).removeprefix("torch.")
    if dtype not in wanted.dtypes:
        lines.append(f"it holds weights in {dtype}, and the trainer computes in {wanted.dtypes[0]}: --dtype {wanted.dtypes[0]}")
    if wanted.whole and not config.get("weight_transfer_config"):
        lines.append("""it takes no whole weights: --weight-transfer-config '{"backend": "nccl"}'""")
    return lines + ([] if wanted.lora_rank is None else _lora(config.get("lora_config"), wanted.lora_rank))


def _lora(config: Any, rank: int) -> list[str]:
    enough = next(one for one in RANKS if one >= rank)
    if not config:
        return [f"it takes no adapters: --enable-lora --max-lora-rank {enough} --max-loras {KEPT + 1}"]
    lines = []
    if config["max_loras"] < KEPT + 1:
        lines.append(
            f"it has room for {config['max_loras']} adapters, and {KEPT + 1} are there at a time: --max-loras {KEPT + 1}"
        )
    if config["max_lora_rank"] < rank:
        lines.append(f"it takes adapters up to rank {config['max_lora_rank']}, and these have {rank}: --max-lora-rank {enough}")
    return lines


async def _pictures(
    replica: Replica, pricing: PatchPricing, *, model: str, sampling: Sampling, tokenizer: PromptTensors
) -> list[str]:
    """The smallest picture, and a large one that half of a conversation holds, by what they cost there."""
    for tokens in (pricing.floor, min(pricing.ceiling, LARGEST, await replica.longest() // 2)):
        sides = (tokens, 1) if tokens < 64 else (int(tokens**0.5),) * 2
        shown = ImagePart(data=_blank(*(pricing.cell * side for side in sides)))
        encoded = tokenizer.encode(Request((user_message("a", shown),)))
        prompt = replace(encoded, max_tokens=1, role="probe")
        try:
            await replica.complete(prompt, model=model, sampling=sampling, timeout=CONTROL_S)
        except EngineError as error:
            if error.status in (403, 404):
                return ["it takes no pictures with token ids: --enable-scale-out"]
            if error.retryable or error.status is not None:
                raise
            limits = json.dumps(processor_limits(pricing))
            return [f"it reads a picture of {prompt.places[0][1]} tokens otherwise: --mm-processor-kwargs '{limits}' ({error})"]
    return []


def _blank(width: int, height: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(buffer, "PNG")
    return buffer.getvalue()
