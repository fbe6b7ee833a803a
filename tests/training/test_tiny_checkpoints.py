"""The tiny policies that training tests use are real: real processors, pictures from our renderer, forward, generate, disk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from helpers.checkpoints import (
    ALPHABET,
    EOS,
    GENERATIONS,
    PAD,
    processor_class,
    saved_llama,
    saved_qwen_vl,
    tiny_llama,
    tiny_qwen_vl,
)
from PIL import Image

from memagent_renderers import Budget, PatchPricing, ReaderProfile, render

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

MARK = "<|vision_start|><|image_pad|><|vision_end|>"


def drawn(generation: str) -> Any:
    """A page that `renderers` draws for this generation's reader: the picture, and what it costs."""
    pricing = PatchPricing(cell=32 if generation == "3" else 28)
    reader = ReaderProfile(name="tiny", sees_images=True, pricing=pricing)
    page = render("# Ada\nlikes **tea**", Budget(tokens=16, reader=reader))
    return Image.open(io.BytesIO(page.png)).convert("RGB"), page.tokens


def conversation(image: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "what does ada like?"}]}]


def test_tokenizer_has_one_token_a_character_and_loses_nothing() -> None:
    _, tokenizer = tiny_llama()

    ids = tokenizer("12+3=\n x")["input_ids"]

    assert len(ids) == 8
    assert tokenizer.decode(ids) == "12+3=\n x"
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, EOS)
    assert tokenizer("é")["input_ids"] == [tokenizer.unk_token_id]
    assert tiny_llama("ab")[1]("ab")["input_ids"] == [0, 1]


def test_tiny_llama_is_small_seeded_and_loads_from_a_folder(tmp_path: Path) -> None:
    model, tokenizer = tiny_llama()
    ids = tokenizer("1+1=", return_tensors="pt")

    loaded = transformers.AutoModelForCausalLM.from_pretrained(saved_llama(tmp_path), local_files_only=True)
    words = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)

    assert model.num_parameters() < 50_000
    torch.testing.assert_close(loaded(**ids).logits, model(**ids).logits)
    assert not torch.equal(tiny_llama(seed=1)[0](**ids).logits, model(**ids).logits)
    assert words(ALPHABET)["input_ids"] == list(range(len(ALPHABET)))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_tiny_qwen_reads_a_rendered_page_through_its_real_processor(generation: str) -> None:
    model, processor = tiny_qwen_vl(generation)
    image, tokens = drawn(generation)

    inputs = processor.apply_chat_template(
        [conversation(image)], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    logits = model(**inputs).logits
    answer = model.generate(**inputs, max_new_tokens=3, do_sample=False)

    assert model.num_parameters() < 100_000
    assert isinstance(processor, transformers.Qwen3VLProcessor if generation == "3" else transformers.Qwen2_5_VLProcessor)
    assert inputs["mm_token_type_ids"].sum() == tokens  # our price is the processor's
    assert torch.equal(inputs["mm_token_type_ids"] == 1, inputs["input_ids"] == model.config.image_token_id)
    assert logits.shape == (1, inputs["input_ids"].shape[1], len(processor.tokenizer))
    assert torch.isfinite(logits).all()
    assert 1 <= answer.shape[1] - inputs["input_ids"].shape[1] <= 3


@pytest.mark.parametrize("generation", GENERATIONS)
def test_tiny_qwen_sees_the_picture(generation: str) -> None:
    model, processor = tiny_qwen_vl(generation)
    image, _ = drawn(generation)

    def last(picture: Any) -> Any:
        return model(**processor(text=[f"{MARK}x"], images=[picture], return_tensors="pt")).logits[0, -1]

    assert not torch.equal(last(image), last(Image.new("RGB", image.size, "white")))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_tiny_qwen_loads_from_a_folder(tmp_path: Path, generation: str) -> None:
    folder = saved_qwen_vl(tmp_path, generation)
    model, processor = tiny_qwen_vl(generation)
    image, _ = drawn(generation)

    words = processor_class(generation).from_pretrained(folder, local_files_only=True)
    loaded = transformers.AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)

    inputs = words(text=[f"{MARK}x"], images=[image], return_tensors="pt")
    expected = processor(text=[f"{MARK}x"], images=[image], return_tensors="pt")
    torch.testing.assert_close(dict(inputs), dict(expected))
    torch.testing.assert_close(loaded(**inputs).logits, model(**expected).logits)
    assert words.chat_template == processor.chat_template


def test_tiny_makers_have_names_of_their_own() -> None:
    assert tiny_qwen_vl("2.5")[0].config.model_type == "qwen2_5_vl"
    assert tiny_qwen_vl("3")[0].config.model_type == "qwen3_vl"


def vision_inputs(processor: Any) -> dict[str, Any]:
    side = 2 * processor.image_processor.patch_size
    return dict(processor(text=[f"{MARK}ab"], images=[Image.new("RGB", (side, side))], return_tensors="pt"))


def test_qwen3_refuses_pictures_without_token_types_and_qwen25_misplaces_them_silently() -> None:
    model, processor = tiny_qwen_vl("3")
    inputs = vision_inputs(processor)
    inputs.pop("mm_token_type_ids")
    with pytest.raises(ValueError, match="`mm_token_type_ids` is missing"):
        model(**inputs)

    model, processor = tiny_qwen_vl("2.5")
    side = 2 * processor.image_processor.patch_size
    inputs = dict(processor(text=[f"{MARK}ab"], images=[Image.new("RGB", (2 * side, 2 * side))], return_tensors="pt"))
    right = model(**inputs).logits
    inputs.pop("mm_token_type_ids")
    assert (model(**inputs).logits - right).abs().max() > 1e-5


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_sampled_picture_token_crashes_the_forward_pass_even_where_it_is_masked(generation: str) -> None:
    model, processor = tiny_qwen_vl(generation)
    inputs = vision_inputs(processor)
    inputs["input_ids"] = torch.nn.functional.pad(inputs["input_ids"], (0, 1), value=model.config.image_token_id)
    for key in ("attention_mask", "mm_token_type_ids"):
        inputs[key] = torch.nn.functional.pad(inputs[key], (0, 1))

    with pytest.raises(ValueError, match="do not match"):
        model(**inputs)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_pictures_next_to_each_other_without_marks_between_are_taken_for_one(generation: str) -> None:
    model, processor = tiny_qwen_vl(generation)
    side = 2 * processor.image_processor.patch_size
    images = [Image.new("RGB", (2 * side, side))] * 2

    assert model(**processor(text=[MARK * 2], images=[images], return_tensors="pt")).logits.shape[1] == 8
    with pytest.raises(RuntimeError, match="shape mismatch"):
        model(**processor(text=["<|image_pad|>" * 2], images=[images], return_tensors="pt"))
