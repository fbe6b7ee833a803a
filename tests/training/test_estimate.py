"""What recipes cost, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from memagent_training import cli
from memagent_training.estimate import SHAPES, RolloutTokens, activation_bytes, cache_tokens, estimate, update_seconds
from memagent_training.policy import Lora
from memagent_training.recipe import Expected, load_recipe

LARGE, SMALL = SHAPES["Qwen/Qwen2.5-VL-7B-Instruct"], SHAPES["Qwen/Qwen3-VL-2B-Instruct"]
NODE, ONE = "memocr-qwen25-vl-7b-node", "memocr-qwen3-vl-2b-lora"


def machine(**changed: Any) -> Expected:
    usual = {"gpus": 8, "memory_gb": 80, "tflops": 989, "tokens_per_s": 150}
    return Expected(**usual | {"chunks": 3, "draft_tokens": 700, "answer_tokens": 400} | changed)


def test_sizes_are_those_of_the_models() -> None:
    """Weights by their model cards; 28 layers x 2 x 4 heads x 128 x 2 bytes are 56 KiB a token, with 8 heads 112."""
    assert (LARGE.active, LARGE.total) == (pytest.approx(7.1e9, rel=0.01), pytest.approx(8.3e9, rel=0.01))
    assert (SMALL.active, SMALL.total) == (pytest.approx(1.7e9, rel=0.02), pytest.approx(2.1e9, rel=0.02))
    assert (LARGE.cached_bytes, SMALL.cached_bytes) == (56 * 1024, 112 * 1024)
    modules = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    by_hand = 28 * 32 * (4096 + 3072 + 3072 + 4096 + 8192 + 8192 + 8192)
    assert SMALL.adapters(Lora(r=32, target_modules=modules)) == by_hand == pytest.approx(34.9e6, rel=0.002)


def test_tokens_of_a_rollout_are_counted_conversation_by_conversation() -> None:
    node = RolloutTokens(chunks=3, chunk=5000, draft=700, answer=400, readings=(512, 32, 512))
    assert node.decoded == 3 * 700 + 3 * 400
    drafts = (5000 + 350 + 700) + 2 * (5000 + 700 + 350 + 700)
    assert node.total == drafts + (512 + 350 + 400) + (32 + 350 + 400) + (512 + 350 + 400) == 22856
    small = RolloutTokens(chunks=3, chunk=2500, draft=500, answer=250, readings=(256, 16, 256))
    published = RolloutTokens(chunks=7, chunk=5000, draft=700, answer=400, readings=(512, 32, 512))
    assert (small.total, published.total) == (pytest.approx(13_400, rel=0.02), pytest.approx(49_700, rel=0.02))


@pytest.mark.parametrize(
    ("active", "tokens", "gpus", "tflops", "efficiency", "adapters", "seconds"),
    [
        (7.1e9, 5.9e6, 8, 989, 0.4, False, 132),  # (6 + 2 + 2) x 7.1e9 x 5.9e6 / (8 x 989e12 x 0.4)
        (7.1e9, 51e6, 48, 989, 0.4, False, 190),
        (1.7e9, 0.86e6, 1, 165, 0.4, True, 177),  # (4 + 2 + 2) x 1.7e9 x 0.86e6 / (165e12 x 0.4)
        (1.7e9, 0.86e6, 1, 312, 0.4, True, 94),
        (1.7e9, 0.86e6, 1, 989, 0.35, True, 34),
    ],
)
def test_seconds_of_an_update_are_operations_over_what_the_machine_does(
    active: float, tokens: float, gpus: int, tflops: float, efficiency: float, adapters: bool, seconds: float
) -> None:
    here = machine(gpus=gpus, tflops=tflops, efficiency=efficiency)
    assert update_seconds(active, tokens, here, adapters=adapters, further_passes=2) == pytest.approx(seconds, rel=0.01)


def test_activations_and_cache_by_hand() -> None:
    assert activation_bytes(LARGE, 16384) == (pytest.approx(3.3e9, rel=0.01), pytest.approx(2.5e9, rel=0.01))
    assert 1e9 < sum(activation_bytes(SMALL, 6144)) < 2e9
    assert cache_tokens(LARGE, 0.5 * 80 * 2**30) == pytest.approx(390_000, rel=0.03)
    assert cache_tokens(LARGE, 0.9 * 80 * 2**30) == pytest.approx(0.9e6, rel=0.05)
    assert cache_tokens(SMALL, 0.45 * 24 * 2**30) == pytest.approx(47_000, rel=0.16)


def test_a_recipe_is_put_together_from_these() -> None:
    found = estimate(load_recipe(NODE))
    assert found is not None
    assert (found.tokens, found.batch_tokens, found.batches) == (22856, 22856 * 256, 400)
    assert found.states == pytest.approx(16.6e9, rel=0.01)
    assert found.update_s == pytest.approx(132 * 1.15 * 12 / 10, rel=0.02), "two updates need a pass more: the policy before"
    assert found.rollout_s == pytest.approx((3 * 2048 + 3 * 2048) / 150)
    assert found.send_s == pytest.approx(10, rel=0.05)
    assert found.hours == pytest.approx(400 * (158 * 1.15 + 82 + 10) / 3600, rel=0.02)
    small = estimate(load_recipe(ONE))
    assert small is not None
    assert small.states == pytest.approx(2 * 2.1e9 + 16 * 34.9e6, rel=0.02)
    assert small.hours == pytest.approx(38, rel=0.05)


@pytest.mark.parametrize(
    ("recipe", "changed"), [("demo", {}), ("coba", {}), (NODE, {"policy.path": "of/mine"}), (NODE, {"expected": None})]
)
def test_what_is_not_known_is_not_estimated(recipe: str, changed: dict[str, Any]) -> None:
    assert estimate(load_recipe(recipe, overrides=changed)) is None


def test_a_dry_run_tells_the_estimate_beside_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--recipe", NODE, "--out", "unused", "--dry-run"]) == 0
    said = capsys.readouterr().err
    for part in ("8 GPUs", "22,856 a rollout, 5.85 M a step", "h for 400 steps", "memory of 80 GB", "vLLM awake 40.0"):
        assert part in said
