"""What readers charge: the figures that their makers publish, and the largest page for a price."""

from __future__ import annotations

from itertools import product

import pytest

from memagent_renderers.errors import BudgetError, InputError
from memagent_renderers.pricing import READERS, FlatPricing, PatchPricing, TilePricing, pricing_for


@pytest.mark.parametrize(
    ("reader", "size", "tokens"),
    [
        ("gpt-4o", (1024, 1024), 765),  # examples of OpenAI's guide
        ("gpt-4o", (2048, 4096), 1105),
        ("gpt-4o", (512, 512), 255),
        ("gpt-4o", (513, 512), 425),
        ("gpt-4o-mini", (512, 512), 2833 + 5667),
        ("gpt-5", (512, 512), 210),
        ("o1", (512, 512), 225),
        ("gpt-4.1-mini", (1024, 1024), 1659),  # 1,024 patches at 1.62 tokens
        ("gpt-4.1-nano", (320, 320), 246),
        ("claude", (1000, 1000), 1296),  # examples of Anthropic's
        ("claude", (1075, 1520), 33 * 47),  # shrunk to 924 x 1307
        ("claude", (1920, 1080), 52 * 30),  # shrunk to 1456 x 819
        ("claude-opus-4.7", (1075, 1520), 2145),
        ("gemma-3", (20, 3000), 256),
        ("gemini-2", (384, 384), 258),
        ("gemini-2", (960, 540), 6 * 258),  # Google's example
        ("qwen2.5-vl", (1000, 700), 36 * 25),
        ("qwen3-vl", (1000, 700), 31 * 22),
        ("qwen3-vl", (128, 128), 64),
        ("qwen2-vl", (28, 56), 6),  # enlarged to 84 x 56
    ],
)
def test_published_examples(reader: str, size: tuple[int, int], tokens: int) -> None:
    assert READERS[reader].cost(*size) == tokens


@pytest.mark.parametrize("name", READERS)
def test_the_largest_page_is_the_largest(name: str) -> None:
    reader = READERS[name]
    step = reader.step
    most = 2048 // step
    every = [(wide * step, high * step) for wide, high in product(range(1, most + 1), repeat=2) if high <= wide <= 2 * high]
    prices = {page: reader.cost(*page) for page in every if page[0] * page[1] <= 150 * 32 * 32 or step > 32}
    for tokens in {reader.floor, reader.floor + 1, 2 * reader.floor, 3 * reader.floor + 5, 16, 64, 100, 137, 256, 500, 1024}:
        if tokens < reader.floor or (step <= 32 and tokens > 140):
            continue
        width, height = reader.largest(tokens)
        assert reader.cost(width, height) <= tokens
        assert width % step == height % step == 0
        assert height <= width <= 2 * height
        within = [wide * high for (wide, high), price in prices.items() if price <= tokens and _kept(reader, wide, high)]
        assert width * height == max(within)


def _kept(reader: object, width: int, height: int) -> bool:
    """Whether the reader takes a page in without changing its size."""
    if isinstance(reader, PatchPricing):
        return reader.floor * reader.cell**2 <= width * height <= reader.ceiling * reader.cell**2
    if isinstance(reader, TilePricing):
        return width <= reader.longest and height <= reader.shortest and reader._tiles(width, height) <= reader.most  # type: ignore[arg-type]
    return isinstance(reader, FlatPricing) and max(width, height) <= reader.side


def test_familiar_pages() -> None:
    gpt = READERS["gpt-4o"]
    pages = [gpt.largest(tokens) for tokens in (255, 425, 765, 1105, 5000)]
    assert pages == [(512, 512), (1024, 512), (1024, 768), (1536, 768), (1536, 768)]
    assert READERS["claude"].largest(256) == (448, 448)
    assert READERS["claude"].largest(9999) == (1372, 896)
    assert READERS["qwen3-vl"].largest(64) == (256, 256)
    assert READERS["gemma-3"].largest(300) == (896, 896)


def test_a_page_for_an_odd_floor_is_not_enlarged_by_its_reader() -> None:
    assert PatchPricing(floor=5).largest(5) == (140, 28)  # 2 x 2 cells would become 3 x 3
    assert PatchPricing(floor=5).cost(140, 28) == 5


@pytest.mark.parametrize("name", READERS)
def test_too_little_for_any_picture_names_the_floor(name: str) -> None:
    reader = READERS[name]
    with pytest.raises(BudgetError, match=f"at least {reader.floor} visual tokens, not {reader.floor - 1}"):
        reader.largest(reader.floor - 1)
    with pytest.raises(InputError, match="at least 1 px"):
        reader.cost(0, 10)


@pytest.mark.parametrize("name", READERS)
def test_one_cell_costs_one_token_where_there_is_a_cell(name: str) -> None:
    reader = READERS[name]
    assert not isinstance(reader, PatchPricing) or reader.cost(20 * reader.cell, 10 * reader.cell) == 200


def test_prices_compare_and_hash_by_value() -> None:
    assert len({*READERS.values(), PatchPricing(28), PatchPricing(cell=28)}) < len(READERS)
    assert READERS["gpt-4o"] == READERS["gpt-4.1"] != READERS["gpt-5"]


@pytest.mark.parametrize(
    ("model", "reader"),
    [
        ("Qwen/Qwen2-VL-2B-Instruct", "qwen2-vl"),
        ("qwen2vl_merger", "qwen2-vl"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl"),
        ("qwen2_5_vl", "qwen2.5-vl"),
        ("qwen2.5vl:7b", "qwen2.5-vl"),
        ("Qwen/Qwen3-VL-4B", "qwen3-vl"),
        ("qwen3vl_merger", "qwen3-vl"),
        ("qwen3_5", "qwen3-vl"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o"),
        ("chatgpt-4o-latest", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4.1", "gpt-4.1"),
        ("gpt-4.1-mini", "gpt-4.1-mini"),
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("o1-pro", "o1"),
        ("o3", "o3"),
        ("o4-mini", "o4-mini"),
        ("anthropic/claude-sonnet-4.5", "claude"),
        ("claude-opus-4-7", "claude-opus-4.7"),
        ("google/gemma-3-4b-it", "gemma-3"),
        ("gemma3:12b", "gemma-3"),
        ("gemini-2.5-flash", "gemini-2"),
    ],
)
def test_a_name_tells_the_reader(model: str, reader: str) -> None:
    assert pricing_for(model) == READERS[reader]


@pytest.mark.parametrize(
    "model", ["llama-3", "gpt-5-mini", "gpt-5.4", "o3-mini", "gemini-3-pro", "gemma-3n-e4b", "marco-o1x", ""]
)
def test_other_models_keep_the_usual_price(model: str) -> None:
    assert pricing_for(model) == PatchPricing() == READERS["qwen2.5-vl"]
