"""vLLM's rule for prompts with pictures, by figures that were measured on vLLM's own functions (0.31 and 0.33)."""

from __future__ import annotations

import pytest
from PIL import Image

from memagent_training.testing.vllm_rule import Eye, PromptPicture, Sampler, expand

IMAGE = 9


def prompt(*runs: int, before: int = 2, between: int = 3, after: int = 2) -> list[int]:
    """Text around runs of image tokens."""
    ids = [1] * before
    for number, run in enumerate(runs):
        ids += [2] * (between if number else 0) + [IMAGE] * run
    return ids + [3] * after


@pytest.mark.parametrize(
    ("sent", "lengths", "whole", "images"),
    [
        (prompt(60, after=4), [60], 125, 119),
        (prompt(1, after=4), [60], 66, 60),
        (prompt(60, 40), [60, 40], 205, 198),
        (prompt(1, 1), [60, 40], 107, 100),
    ],
)
def test_an_expanded_picture_is_expanded_again(sent: list[int], lengths: list[int], whole: int, images: int) -> None:
    read, _ = expand(sent, lengths, image_id=IMAGE)
    assert (len(read), read.count(IMAGE)) == (whole, images)


def test_the_second_of_two_expanded_pictures_lands_inside_the_first_run() -> None:
    assert expand(prompt(60, 40), [60, 40], image_id=IMAGE)[1] == [(2, 60), (62, 40)]
    assert expand(prompt(1, 1), [60, 40], image_id=IMAGE)[1] == [(2, 60), (65, 40)]


def test_surplus_image_tokens_stay_and_missing_ones_are_an_error() -> None:
    assert expand([IMAGE, 1, IMAGE], [2], image_id=IMAGE)[0] == [IMAGE, IMAGE, 1, IMAGE]
    assert expand([1, 2], [], image_id=IMAGE) == ([1, 2], [])
    with pytest.raises(ValueError, match="expected 2 placeholders for pictures and found 1"):
        expand([1, IMAGE, 2], [1, 1], image_id=IMAGE)


@pytest.mark.parametrize(
    ("size", "settings", "tokens"),
    [
        ((128, 128), {"cell": 32, "min_pixels": 65_536}, 64),  # the floor of Qwen3-VL as published
        ((128, 128), {"cell": 32, "min_pixels": 1024}, 16),
        ((128, 64), {"cell": 32, "min_pixels": 65_536}, 72),  # 12 x 6: both sides are scaled, then rounded up
        ((28, 28), {}, 4),
        ((560, 280), {}, 200),
        ((280, 280), {"max_pixels": 28 * 28 * 20}, 16),
        ((1000, 9), {}, 36),
    ],
)
def test_a_picture_costs_what_the_server_makes_of_it(size: tuple[int, int], settings: dict[str, int], tokens: int) -> None:
    assert Eye(image_id=IMAGE, **settings).tokens(*size) == tokens


def test_a_picture_is_its_pixels() -> None:
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    assert PromptPicture.of(red) == PromptPicture.of(red.convert("RGBA")) != PromptPicture.of(blue)
    assert PromptPicture.of(red) != PromptPicture.of(red.resize((2, 8)))


def test_text_depends_on_all_that_was_read() -> None:
    say = Sampler(vocabulary=range(1, 1000), ends=1000)
    picture = PromptPicture.of(Image.new("RGB", (4, 4), "red"))
    told = {"seed": 1, "weights": 1, "max_tokens": 8}
    texts = [
        say([1, 2], **told).ids,
        say([1, 3], **told).ids,
        say([1, 2], [picture], **told).ids,
        say([1, 2], **{**told, "seed": 2}).ids,
        say([1, 2], **{**told, "weights": 2}).ids,
    ]
    assert len({tuple(text) for text in texts}) == len(texts)
    assert say([1, 2], **told).ids == texts[0]
    assert say([1, 2], **{**told, "max_tokens": 3}).ids == texts[0][:3]


def test_log_probabilities_are_those_after_temperature_unless_raw() -> None:
    say = Sampler()
    told = {"seed": 1, "weights": 1, "max_tokens": 8}
    plain = say([1], **told)
    assert all(score < 0 for score in plain.logprobs)
    assert say([1], **told, temperature=2.0).logprobs == [score / 2 for score in plain.logprobs]
    assert say([1], **told, temperature=2.0, raw=True) == plain


def test_an_answer_ends_with_the_end_token_or_at_its_limit() -> None:
    answers = [Sampler(end_id=0, vocabulary=[5])([1], seed=seed, weights=0, max_tokens=6) for seed in range(40)]
    assert {one.finished for one in answers} == {True, False}
    for one in answers:
        assert one.finished == (one.ids[-1] == 0)
        assert one.finished or len(one.ids) == 6
        assert 0 not in one.ids[:-1]
