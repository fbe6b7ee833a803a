"""Our prices against the image processors of transformers themselves, made from their classes (nothing is downloaded)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from PIL import Image

from memagent_renderers.budget import ReaderProfile, processor_limits
from memagent_renderers.errors import InputError
from memagent_renderers.pricing import MAX_ASPECT, READERS, PatchPricing, shrink_to

PRICES = [
    PatchPricing(28),
    PatchPricing(32),
    READERS["qwen3-vl"],
    PatchPricing(28, floor=1),
    PatchPricing(32, floor=8, ceiling=4096),
]
MOST = 4096


@pytest.fixture(scope="module")
def modules() -> Any:
    return pytest.importorskip("transformers.models", reason="transformers is not installed")


def qwen_processor(pricing: PatchPricing) -> Any:
    """That of Qwen2-VL and Qwen2.5-VL (patches of 14 px) or Qwen3-VL (16 px), with our limits."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=pricing.cell // 2, merge_size=2, **processor_limits(pricing))


def taken_in(processor: Any, width: int, height: int) -> tuple[int, int]:
    """Size at which the processor takes a picture in, by the function that it calls."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    cell = processor.patch_size * processor.merge_size
    limits = {"min_pixels": processor.size["shortest_edge"], "max_pixels": processor.size["longest_edge"]}
    high, wide = smart_resize(height, width, factor=cell, **limits)
    return wide, high


def tokens_of(processor: Any, width: int, height: int) -> int:
    """Visual tokens that the processor makes of a picture."""
    return int(processor.get_number_of_image_patches(height, width)) // processor.merge_size**2


def grids(least: int, most: int) -> Iterator[tuple[int, int]]:
    """Every grid of `least` to `most` cells that is no longer than 200 : 1, both ways round."""
    for short in range(1, int(most**0.5) + 1):
        for long in range(max(short, -(-least // short)), min(MAX_ASPECT * short, most // short) + 1):
            yield long, short
            yield short, long


@pytest.mark.parametrize("pricing", PRICES, ids=str)
def test_every_page_of_up_to_4096_tokens_passes_unchanged_at_our_price(modules: Any, pricing: PatchPricing) -> None:
    processor = qwen_processor(pricing)
    count = 0
    for columns, rows in grids(pricing.floor, MOST):
        page = columns * pricing.cell, rows * pricing.cell
        assert taken_in(processor, *page) == page
        assert tokens_of(processor, *page) == pricing.cost(*page) == columns * rows
        count += 1
    assert count > 21000


@pytest.mark.parametrize("pricing", PRICES, ids=str)
def test_every_budget_from_the_floor_to_4096(modules: Any, pricing: PatchPricing) -> None:
    processor = qwen_processor(pricing)
    draw = random.Random(3)
    for budget in range(pricing.floor, MOST + 1):
        shape = draw.randint(20, 3000), draw.randint(20, 3000)
        for page in (pricing.largest(budget), shrink_to(*shape, budget, cell=pricing.cell, floor=pricing.floor)):
            assert taken_in(processor, *page) == page
            assert tokens_of(processor, *page) == pricing.cost(*page) <= budget


@pytest.mark.parametrize("pricing", PRICES, ids=str)
def test_pictures_of_any_size_cost_what_we_say(modules: Any, pricing: PatchPricing) -> None:
    processor = qwen_processor(pricing)
    draw = random.Random(4)
    checked = 0
    while checked < 3000:
        width, height = (round(10 ** draw.uniform(1.3, 4.2)) for _ in range(2))  # 20 to 16,000 px
        if max(width, height) <= MAX_ASPECT * min(width, height):
            assert tokens_of(processor, width, height) == pricing.cost(width, height)
            checked += 1


def test_a_ceiling_that_binds_is_charged_as_the_processor_does(modules: Any) -> None:
    pricing = PatchPricing(28, ceiling=300)
    processor = qwen_processor(pricing)
    for width in range(30, 3000, 37):
        assert tokens_of(processor, width, 700) == pricing.cost(width, 700) <= 300


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(numpy.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=numpy.uint8))


@pytest.mark.parametrize("pricing", PRICES[:3], ids=str)
@pytest.mark.parametrize("grid", [(8, 8), (16, 4), (1, 64), (23, 3), (200, 1)])
def test_the_pixels_that_come_out_are_those_that_went_in(modules: Any, pricing: PatchPricing, grid: tuple[int, int]) -> None:
    processor = qwen_processor(pricing)
    columns, rows = grid
    picture = _noise(columns * pricing.cell, rows * pricing.cell)
    seen = processor(images=[picture], return_tensors="np")
    untouched = processor(images=[picture], return_tensors="np", do_resize=False)
    assert seen["image_grid_thw"].tolist() == [[1, 2 * rows, 2 * columns]]
    assert numpy.array_equal(seen["pixel_values"], untouched["pixel_values"])


def test_limits_can_be_given_to_the_call(modules: Any) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    published = Qwen2VLImageProcessorPil(patch_size=16, size={"shortest_edge": 65536, "longest_edge": 16777216})
    page = _noise(128, 128)
    assert published(images=[page], return_tensors="np")["image_grid_thw"].prod() == 4 * 64  # enlarged to 256 x 256
    limits = processor_limits(PatchPricing(32))
    assert published(images=[page], return_tensors="np", **limits)["image_grid_thw"].prod() == 4 * 16


def test_prices_by_name_are_those_of_the_published_limits(modules: Any) -> None:
    assert processor_limits(READERS["qwen2.5-vl"]) == {"size": {"shortest_edge": 3136, "longest_edge": 12845056}}
    assert processor_limits(READERS["qwen3-vl"]) == {"size": {"shortest_edge": 65536, "longest_edge": 16777216}}


def test_gemma_takes_its_page_unchanged(modules: Any) -> None:
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    pricing = READERS["gemma-3"]
    processor = Gemma3ImageProcessorPil(**processor_limits(ReaderProfile("gemma", pricing=pricing)))
    page = _noise(*pricing.largest(256))
    seen = processor(images=[page], return_tensors="np")["pixel_values"]
    assert seen.shape == (1, 3, 896, 896)
    assert numpy.array_equal(seen, processor(images=[page], return_tensors="np", do_resize=False)["pixel_values"])


@pytest.mark.parametrize("name", ["gpt-4o", "claude", "gemini-2"])
def test_hosted_readers_have_no_processor(name: str) -> None:
    with pytest.raises(InputError, match="hosted model"):
        processor_limits(READERS[name])
