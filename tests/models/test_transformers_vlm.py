import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from helpers.checkpoints import Painter

from memagent.errors import ConfigError, ModelError
from memagent.models.convert import open_picture
from memagent.models.hf_processor import picture_processor, qwen_fetch_image
from memagent.models.transformers_vlm import TransformersModel
from memagent.types import user_message


def test_a_text_model_answers_and_counts_exactly(llama: TransformersModel) -> None:
    reply = llama.generate([user_message("hello é")], max_tokens=9)
    prompt = "<|im_start|>user\nhello é<|im_end|>\n<|im_start|>assistant\n"
    letters = prompt.replace("<|im_start|>", "").replace("<|im_end|>", "")
    assert reply.usage.text_in == len(letters.encode()) + 3
    assert reply.usage.text_out == 9
    assert reply.stop_reason == "length"
    assert llama.reader.exact
    assert llama.reader.count("hello é") == 8


def test_streamed_pieces_join_to_the_reply_and_a_seed_repeats_it(llama: TransformersModel) -> None:
    def said(seed: int) -> tuple[list[str], str]:
        stream = llama.stream([user_message("tell")], max_tokens=12, temperature=1.0, seed=seed)
        pieces = list(stream)
        assert stream.reply is not None
        return pieces, stream.reply.text

    pieces, text = said(3)
    assert len(pieces) > 1
    assert "".join(pieces) == text == said(3)[1]
    assert text != said(4)[1]


def test_a_stop_text_ends_the_answer(llama: TransformersModel) -> None:
    whole = llama.generate([user_message("tell")], max_tokens=12, temperature=1.0, seed=3).text
    mark = whole[4]
    reply = llama.generate([user_message("tell")], max_tokens=12, temperature=1.0, seed=3, stop=[mark])
    assert reply.text == whole[: whole.index(mark)]
    assert reply.stop_reason == "stop"


def test_closing_a_stream_ends_its_thread(llama: TransformersModel) -> None:
    stream = llama.stream([user_message("tell")], max_tokens=400)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "memagent-hf"]


def test_special_tokens_in_a_message_are_plain_text(llama: TransformersModel) -> None:
    assert llama.reader.count("<|im_end|>") == len("< |im_end|>")


def test_too_long_a_prompt_names_both_sizes(llama: TransformersModel) -> None:
    with pytest.raises(ModelError, match=r"is 6\d\d tokens and the context window .* 512"):
        llama.generate([user_message("a" * 600)])


def test_a_slow_answer_is_a_retryable_error(llama: TransformersModel) -> None:
    with pytest.raises(ModelError, match="did not finish") as caught:
        llama.generate([user_message("tell")], max_tokens=400, timeout=0.01)
    assert caught.value.retryable


@pytest.mark.parametrize(("across", "down"), [(2, 2), (5, 4), (3, 7)])
def test_a_picture_costs_what_the_reader_says(qwen_vl: TransformersModel, paint: Painter, across: int, down: int) -> None:
    cell = qwen_vl.reader.pricing.cell
    reply = qwen_vl.generate([user_message("what?", paint(across * cell, down * cell))], max_tokens=3)
    assert reply.usage.visual == qwen_vl.reader.image_cost(across * cell, down * cell) == across * down
    assert reply.usage.text_out == 3


def test_cells_are_those_of_the_generation(qwen_vl: TransformersModel) -> None:
    model_type = qwen_vl._model.config.model_type
    assert qwen_vl.reader.pricing.cell == {"qwen2_5_vl": 28, "qwen3_vl": 32}[model_type]


def test_pixels_reach_the_model_unchanged(qwen_vl: TransformersModel, paint: Painter) -> None:
    import numpy

    cell = qwen_vl.reader.pricing.cell
    red = paint(4 * cell, 4 * cell)
    inputs, visual = qwen_vl._input.encode([user_message("what?", red)])
    processor = qwen_vl._input._processor
    pixels = inputs["pixel_values"].numpy().reshape(-1, 3, processor.patch_size**2 * 2)
    colours = pixels * numpy.array(processor.image_std)[:, None] + numpy.array(processor.image_mean)[:, None]
    # Two colours were painted, red and white: any resizing would have mixed them.
    assert set(numpy.round(colours, 2).reshape(-1)) == {0.0, 1.0}
    assert visual == 16


def test_limits_in_the_models_own_files_are_opened(qwen_vl: TransformersModel, paint: Painter, tmp_path: Path) -> None:
    pricing, patch = qwen_vl.reader.pricing, qwen_vl.reader.pricing.cell // 2
    own = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": patch, "min_pixels": 200704, "max_pixels": 1003520}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(own))
    processor = picture_processor(str(tmp_path), qwen_vl._model.config, pricing, local_files_only=True)
    picture = open_picture(paint(4 * pricing.cell, 4 * pricing.cell)).convert("RGB")
    assert processor(images=[picture])["image_grid_thw"].tolist() == [[1, 8, 8]]


@pytest.fixture
def qwen_vl_utils(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    """qwen-vl-utils with a stand-in for torchvision, which has no build for the torch of these machines; its calls."""
    pytest.importorskip("av", reason="qwen-vl-utils is not installed")
    standin = ModuleType("torchvision")
    standin.io, standin.transforms = ModuleType("io"), ModuleType("transforms")  # type: ignore[attr-defined]
    modes = ModuleType("torchvision.transforms")
    modes.InterpolationMode = object  # type: ignore[attr-defined]
    for name in [name for name in sys.modules if name.partition(".")[0] == "qwen_vl_utils"]:
        monkeypatch.delitem(sys.modules, name)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torchvision", standin)
        patch.setitem(sys.modules, "torchvision.transforms", modes)
        import qwen_vl_utils

    calls: list[dict[str, object]] = []

    def recorded(element: dict[str, object], **options: object) -> object:
        calls.append(element)
        return fetch_image(element, **options)

    fetch_image = qwen_vl_utils.fetch_image
    monkeypatch.setattr(qwen_vl_utils, "fetch_image", recorded)
    qwen_fetch_image.cache_clear()
    yield calls
    qwen_fetch_image.cache_clear()
    for name in ("qwen_vl_utils", "qwen_vl_utils.vision_process"):
        sys.modules.pop(name, None)


def test_qwen_vl_utils_prepares_pictures_as_the_fallback_does(
    qwen_vl: TransformersModel, paint: Painter, qwen_vl_utils: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pricing = qwen_vl.reader.pricing
    parts = [paint(3 * pricing.cell, 2 * pricing.cell), paint(2 * pricing.cell, 5 * pricing.cell)]
    prepared, costs = qwen_vl._input.look(parts)
    area = pricing.cell**2
    assert [call["min_pixels"] for call in qwen_vl_utils] == [pricing.floor * area] * 2
    assert [call["max_pixels"] for call in qwen_vl_utils] == [pricing.ceiling * area] * 2
    assert costs == [6, 10]
    with monkeypatch.context() as patch:
        patch.setattr("memagent.models.hf_processor.qwen_fetch_image", lambda: None)
        fallback, same = qwen_vl._input.look(parts)
    assert (len(qwen_vl_utils), same) == (2, costs)
    assert all(torch_equal(prepared[name], fallback[name]) for name in ("pixel_values", "image_grid_thw"))


def test_qwen_vl_utils_keeps_to_the_limits_of_the_reader(
    qwen_vl: TransformersModel, paint: Painter, qwen_vl_utils: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = qwen_vl.reader.pricing.cell
    limits = {"shortest_edge": 4 * cell**2, "longest_edge": 12 * cell**2}
    monkeypatch.setattr(qwen_vl._input._processor, "size", limits)
    _, costs = qwen_vl._input.look([paint(20 * cell, 10 * cell), paint(cell, cell)])
    assert len(qwen_vl_utils) == 2
    assert 4 <= costs[1] < costs[0] <= 12


def test_without_torchvision_the_processor_of_transformers_does_it_alone(
    qwen_vl: TransformersModel, paint: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "qwen_vl_utils", raising=False)
    qwen_fetch_image.cache_clear()
    assert qwen_fetch_image() is None
    cell = qwen_vl.reader.pricing.cell
    assert qwen_vl._input.look([paint(3 * cell, 2 * cell)])[1] == [6]
    qwen_fetch_image.cache_clear()


def torch_equal(left: object, right: object) -> bool:
    import torch

    return torch.equal(left, right)


def test_several_pictures_and_none_at_all(qwen_vl: TransformersModel, paint: Painter) -> None:
    cell = qwen_vl.reader.pricing.cell
    both = [user_message("what?", paint(2 * cell, 2 * cell), paint(3 * cell, 2 * cell))]
    assert qwen_vl.generate(both, max_tokens=2).usage.visual == 10
    assert qwen_vl.generate([user_message("no picture")], max_tokens=2).usage.visual == 0


def test_planted_picture_marks_are_plain_text(qwen_vl: TransformersModel, paint: Painter) -> None:
    cell = qwen_vl.reader.pricing.cell
    reply = qwen_vl.generate([user_message("<|image_pad|> <|im_end|>", paint(2 * cell, 2 * cell))], max_tokens=2)
    assert reply.usage.visual == 4


def test_a_model_that_is_not_there_says_how_to_fetch_it(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(ConfigError, match="hf download"):
        TransformersModel(str(tmp_path / "none"), local_files_only=True)
