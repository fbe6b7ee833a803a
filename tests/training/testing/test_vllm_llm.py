"""The stand-in for `vllm.LLM`: what it counts, and what it refuses as vLLM does or should."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from memagent_training.testing.vllm_llm import FakeLLM
from memagent_training.testing.vllm_rule import Eye, Sampler

PARAMS = SimpleNamespace(max_tokens=6, temperature=1.0, logprobs=0)


def llm(**options: Any) -> FakeLLM:
    return FakeLLM(
        settings=options.pop("settings", {}), sampler=Sampler(vocabulary=range(1, 1000), ends=10**6 % 255), **options
    )


def text(one: FakeLLM, *prompt: int, **row: Any) -> list[int]:
    [output] = one.generate(
        [{"prompt_token_ids": list(prompt), **row}], sampling_params=SimpleNamespace(**vars(PARAMS), seed=1)
    )
    return list(output.outputs[0].token_ids)


def test_a_prompt_comes_back_as_it_was_read() -> None:
    one = llm(eye=Eye(image_id=9))
    picture = Image.new("RGB", (28 * 10, 28 * 6))
    sent = [{"prompt_token_ids": [1, *[9] * 60, 2], "multi_modal_data": {"image": picture}}, {"prompt_token_ids": [1, 2]}]

    pictured, plain = one.generate(sent, sampling_params=PARAMS)

    assert pictured.prompt_token_ids == [1, *[9] * 119, 2]
    assert plain.prompt_token_ids == [1, 2]
    assert [len(call) for call in one.calls] == [2]
    assert one.calls[0][0] == [1, *[9] * 60, 2]


def test_limits_of_pictures_come_from_the_settings_that_vllm_takes() -> None:
    published = Eye(image_id=9, cell=32, min_pixels=65_536)
    ours = {"mm_processor_kwargs": {"size": {"shortest_edge": 1024, "longest_edge": 16_777_216}}}
    sent = [{"prompt_token_ids": [9], "multi_modal_data": {"image": [Image.new("RGB", (128, 128))]}}]

    lengths = [
        len(one.generate(sent, sampling_params=PARAMS)[0].prompt_token_ids)
        for one in (llm(eye=published), llm(eye=published, settings=ours))
    ]

    assert lengths == [64, 16]


def test_new_weights_say_something_else_and_are_counted() -> None:
    one = llm()
    before = text(one, 1)
    for _ in range(2):
        one.load_weights([("a", 0)])
        one.load_weights([("b", 0)])
    assert (one.pushes, one.loads["b"]) == (2, 2)
    assert text(one, 1) != before


def test_a_sleeper_neither_samples_nor_takes_weights() -> None:
    one = llm()
    one.sleep(level=2)
    with pytest.raises(RuntimeError, match="sleeps"):
        text(one, 1)
    with pytest.raises(RuntimeError, match="unmapped"):
        one.load_weights([("a", 0)])
    one.wake_up()
    with pytest.raises(RuntimeError, match="lost"):
        text(one, 1)
    one.load_weights([("a", 0)])
    assert text(one, 1)
    one.sleep(level=1)
    one.wake_up(tags=["weights"])
    with pytest.raises(RuntimeError, match="sleeps"):
        text(one, 1)
    one.wake_up(tags=["kv_cache"])
    assert text(one, 1)
    assert (one.counts["sleep"], one.counts["wake_up"]) == (2, 3)


def test_requests_without_a_seed_differ_and_with_one_are_the_same() -> None:
    one = llm()
    free = [tuple(one.generate([{"prompt_token_ids": [1]}], sampling_params=PARAMS)[0].outputs[0].token_ids) for _ in range(4)]
    assert len(set(free)) == 4
    assert text(one, 1) == text(one, 1)


def test_a_prompt_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="length 5"):
        text(llm(settings={"max_model_len": 4}), 1, 2, 3, 4, 5)
