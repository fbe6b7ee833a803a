"""MemOCR's objective: one memory drafted, three readings of its picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.episodes import played
from PIL import Image

from memagent.errors import ConfigError, MemAgentError, MissingExtra, RenderError, StoreLocked
from memagent.text.token_chunks import CountCutter
from memagent.types import ImagePart, TextPart
from memagent_renderers import Budget
from memagent_renderers.fixed_size import render_downscaled
from memagent_training.objectives import memocr_drafting
from memagent_training.objectives.base import EpisodeResult, PolicyRequest, WorkItem
from memagent_training.objectives.memocr_detail import BLANK
from memagent_training.objectives.memocr_drafting import MemocrDrafting, MemocrSettings, blurred
from memagent_training.rollouts.workers import WorkerPool

TASK = {"id": "q", "question": "Where does Ada live?", "context": "Ada lives in Lyon. " * 40, "answers": ["Lyon"]}


MEMORY = "# Ada lives in Lyon\n\n" + "\n\n".join(f"Note number {at} says little of value to anybody" for at in range(30))


def words(text: str) -> int:
    return len(text.split())


def attempt(
    say: Callable[[PolicyRequest], str], *, task: dict[str, Any] = TASK, **settings: Any
) -> tuple[list[PolicyRequest], EpisodeResult]:
    """What was asked, and how it ended."""
    loop = MemocrDrafting(CountCutter(words), settings=MemocrSettings(**{"chunk_tokens": 60} | settings)).episode(task, seed=3)
    return played(loop, say)


def seen(ask: PolicyRequest) -> tuple[str, list[Image.Image]]:
    """The text and the pictures of a request."""
    (message,) = ask.messages
    parts = [TextPart(text=message.content)] if isinstance(message.content, str) else message.content
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    return text, [Image.open(io.BytesIO(part.data)) for part in parts if isinstance(part, ImagePart) and part.data]


def scripted(ask: PolicyRequest) -> str:
    return {"draft": MEMORY, "std": "\\boxed{lyon}", "augM": "\\boxed{Paris}", "augQ": "\\boxed{}"}[ask.role]


def tokens(image: Image.Image) -> int:
    return image.width * image.height // 28**2


def test_a_memory_is_drafted_chunk_by_chunk_and_read_three_times() -> None:
    asked, outcome = attempt(scripted)

    assert [one.role for one in asked] == ["draft"] * 3 + ["std", "augM", "augQ"]
    assert outcome.rewards == {"std": 1.0, "augM": 0.0, "augQ": 0.0}
    assert (outcome.answer, outcome.correct, outcome.valid) == ("lyon", True, True)
    for one in asked[:3]:
        text, pictures = seen(one)
        assert not pictures
        assert "512" not in text  # the budget is in no drafting prompt
    for one in asked[3:]:
        text, pictures = seen(one)
        assert len(pictures) == 1
        assert "Note number" not in text or one.role == "augQ"
    assert "Where does Ada live?" in seen(asked[3])[0]
    assert BLANK in seen(asked[5])[0]


@pytest.mark.parametrize("layout", ["shrink", "fit"])
def test_the_shrunk_reading_costs_32_tokens_of_512(layout: str) -> None:
    asked, _ = attempt(scripted, layout=layout)

    full, starved, detail = (seen(one)[1][0] for one in asked[3:])
    assert tokens(full) <= 512
    assert tokens(starved) <= 32
    assert tokens(starved) >= 20  # the page is long enough to use its budget
    assert full.tobytes() == detail.tobytes()
    if layout == "shrink":
        assert full.width / starved.width == pytest.approx(4, rel=0.25)


def test_blur_keeps_the_size_and_has_blocks_of_one_colour() -> None:
    asked, _ = attempt(scripted, blur=True)

    full, starved = (np.asarray(seen(one)[1][0].convert("RGB")) for one in asked[3:5])
    assert full.shape == starved.shape
    blocks = starved.reshape(starved.shape[0] // 4, 4, starved.shape[1] // 4, 4, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert not (full == starved).all()
    assert len(np.unique(starved)) > 2  # blurred, not blank


def test_blurring_leaves_what_the_page_says_alone() -> None:
    picture = render_downscaled(MEMORY, Budget(256))
    assert blurred(picture).lines == picture.lines


@pytest.mark.parametrize("nothing", ["", "```\n```", "<think> so"])
def test_without_a_memory_nothing_is_read_and_nothing_fails(nothing: str) -> None:
    asked, outcome = attempt(lambda _: nothing)

    assert {one.role for one in asked} == {"draft"}
    assert outcome.rewards == {"std": 0.0, "augM": 0.0}
    assert not outcome.valid


def drawing_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    for name in ("render", "render_downscaled"):
        monkeypatch.setattr(memocr_drafting, name, broken)


@pytest.mark.parametrize("error", [MissingExtra("fonts", "pip install fonts"), StoreLocked("the cache of pictures is locked")])
def test_a_page_that_is_not_drawn_for_reasons_of_ours_is_no_fault_of_the_memory(
    error: MemAgentError, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing_raises(error, monkeypatch)
    with pytest.raises(type(error)):
        attempt(scripted)


def test_a_page_that_cannot_be_drawn_earns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing_raises(RenderError("two processes in turn died over one job"), monkeypatch)
    asked, outcome = attempt(scripted)
    assert {one.role for one in asked} == {"draft"}
    assert (outcome.rewards, outcome.valid) == ({"std": 0.0, "augM": 0.0}, False)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"layout": "shrink"}, {"layout": "fit"}, {"blur": True}])
def test_pictures_drawn_by_a_worker_are_those_drawn_here(settings: dict[str, Any]) -> None:
    items: list[WorkItem] = []
    pool = WorkerPool(1)
    loop = MemocrDrafting(CountCutter(words), settings=MemocrSettings(**settings))._drawn(MEMORY)
    items.append(next(loop))
    items.append(loop.send(pool.outcomes(items)[0]))
    with pytest.raises(StopIteration) as end:
        loop.send(pool.outcomes(items[1:])[0])
    pool.close()
    assert end.value.value == tuple(WorkerPool(0).outcomes(items))
    assert len(items) == 2


def test_a_draft_that_shows_nothing_keeps_the_memory_before_it() -> None:
    drafts = iter([MEMORY, "", ""])
    _, outcome = attempt(lambda ask: next(drafts) if ask.role == "draft" else scripted(ask))
    assert outcome.rewards["std"] == 1.0


def test_a_page_without_words_to_ask_for_has_no_detail_question() -> None:
    asked, outcome = attempt(lambda ask: "# a, b!" if ask.role == "draft" else scripted(ask))
    assert [one.role for one in asked][-2:] == ["std", "augM"]
    assert set(outcome.rewards) == {"std", "augM"}


def test_a_context_beyond_eight_chunks_loses_its_middle() -> None:
    context = "first " * 400 + "last " * 400
    asked, _ = attempt(scripted, task=TASK | {"context": context})
    drafts = [seen(one)[0] for one in asked if one.role == "draft"]
    assert len(drafts) == 8
    assert "first first" in drafts[0]
    assert "last last" in drafts[-1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": 15}, "16 or more"),
        ({"layout": "html"}, "shrink, fit"),
        ({"chunk_tokens": 0}, "1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MemocrSettings(**wrong)
