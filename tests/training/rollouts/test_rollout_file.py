"""Rollouts as lines: what is written comes back, and what somebody else wrote is looked at first."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import ConfigError, EngineError
from memagent_training.grpo.rollout import Rollout, Segment
from memagent_training.rollouts import rollout_file
from memagent_training.rollouts.rollout_file import RolloutFile, batch_lines, first_line

PNG = b"\x89PNG\r\n\x1a\n not looked at further"
OTHER = PNG + b" other"


def rollout(group: str, attempt: int, **options: Any) -> Rollout:
    segments = [Segment(prompt_ids=(1, 2), ids=(3,)), Segment(prompt_ids=(4,), ids=())]
    return Rollout(
        **{
            "id": f"{group}/{attempt}",
            "group_id": group,
            "prompt_id": f"p{group}",
            "segments": segments,
            "rewards": {"answer": attempt / 3},
            "turn_rewards": (0.1,),
        }
        | options
    )


SEEN = Segment(
    prompt_ids=(5, 6),
    ids=(7, 8, 9),
    mask=(1, 0, 1),
    logprobs=(-0.1, 0.0, -1e-300),
    images=(PNG, OTHER, PNG),
    role="std",
    weight=0.3,
    turn_ids=(0, -1, 1),
)
BATCHES = [
    [rollout("0:0", 0), rollout("0:0", 1, answer="«é»\n\u2028\x00", correct=True, versions=(3, 4)), rollout("0:1", 0)],
    [],
    [rollout("2:0", 0, segments=[SEEN, SEEN], valid=False, turn_rewards=())],
]


def written(path: Path, change: Callable[[list[str]], list[str]] = list) -> Path:
    """All batches, with lines changed."""
    text = first_line({"seed": 1}) + "".join(
        batch_lines(one, step=number + 1, batch=number, drawn=["a", f"{number}"]) for number, one in enumerate(BATCHES)
    )
    path.write_text("".join(change([f"{line}\n" for line in text.split("\n")[:-1]])), "utf-8")
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    file = RolloutFile(written(tmp_path / "log"))
    assert file.made_by == {"seed": 1}
    found = [file.batch(number, drawn=["a", f"{number}"]) for number in range(3)]
    assert [[one for group in groups for one in group] for groups in found] == BATCHES
    assert [[len(group) for group in groups] for groups in found] == [[2, 1], [], [1]]


def test_batches_before_the_one_wanted_are_passed_over(tmp_path: Path) -> None:
    [[one]] = RolloutFile(written(tmp_path / "log")).batch(2, drawn=["a", "2"])
    assert one == BATCHES[2][0]
    assert (
        len(json.loads((tmp_path / "log").read_text("utf-8").rstrip("\n").rpartition("\n")[2])["images"]) == 2
    )  # each picture once


def test_scores_that_are_no_numbers_come_back_as_nan(tmp_path: Path) -> None:
    segment = Segment(prompt_ids=(1,), ids=(2, 3, 4), logprobs=(math.nan, -math.inf, -0.5))
    (tmp_path / "log").write_text(
        first_line({}) + batch_lines([rollout("0:0", 0, segments=[segment])], step=1, batch=0, drawn=[]), "ascii"
    )
    [[one]] = RolloutFile(tmp_path / "log").batch(0, drawn=[])
    scores = one.segments[0].logprobs
    assert scores is not None
    assert [math.isnan(score) for score in scores] == [True, True, False]


def test_half_a_surrogate_pair_is_a_question_mark(tmp_path: Path) -> None:
    lines = batch_lines([rollout("0:0", 0, answer="a\ud800")], step=1, batch=0, drawn=["\udfff"])
    (tmp_path / "log").write_text(first_line({}) + lines, "utf-8")
    [[one]] = RolloutFile(tmp_path / "log").batch(0, drawn=["\udfff"])
    assert one.answer == "a?"


def edited(line: int, **values: Any) -> Callable[[list[str]], list[str]]:
    """A line with other values; a dot in a name leads into the first segment."""

    def change(lines: list[str]) -> list[str]:
        plain = json.loads(lines[line])
        for name, value in values.items():
            target = plain["segments"][0] if name.startswith("segment_") else plain
            target[name.removeprefix("segment_")] = value
        return [*lines[:line], json.dumps(plain) + "\n", *lines[line + 1 :]]

    return change


DAMAGED = {
    "half a line": (lambda lines: [*lines[:4], lines[4][:40]], "line 5 is cut off"),
    "no JSON": (lambda lines: [*lines[:3], "{]\n", *lines[4:]], "line 4 .*JSON"),
    "a line too few": (lambda lines: [*lines[:3], *lines[4:]], "line 5 is no line of that kind"),
    "the end is missing": (lambda lines: lines[:4], "batch 0 is cut off"),
    "a batch inside": (lambda lines: [*lines[:3], lines[1], *lines[3:]], "line 4 is no line of that kind"),
    "another batch's": (edited(2, batch=2), "batch 0 is cut off"),
    "an unknown field": (edited(2, run="rm -rf"), "run: Extra inputs"),
    "a token below 0": (edited(2, segment_ids=[-1]), "segments.0.ids.0"),
    "a token that is a text": (edited(2, segment_ids=["3"]), "segments.0.ids.0"),
    "a token that is a fraction": (edited(2, segment_ids=[3.5]), "segments.0.ids.0"),
    "no prompt": (edited(2, segment_prompt_ids=[]), "segments.0.prompt_ids"),
    "a mask of another length": (edited(2, segment_mask=[1, 1]), "`mask` has 2 entries for 1 tokens"),
    "a mask of twos": (edited(2, segment_mask=[2]), "segments.0.mask.0"),
    "a reward that is no number": (edited(2, rewards={"answer": math.nan}), "rewards.answer"),
    "a weight without end": (edited(2, segment_weight=math.inf), "segments.0.weight"),
    "a score without end": (edited(2, segment_logprobs=[-math.inf]), "segments.0.logprobs.0"),
    "a picture that is not there": (edited(2, segment_images=[0]), "not in `images`"),
    "no base64": (edited(2, images=["!"]), "line 3 is damaged"),
    "no picture": (edited(2, images=["R0lGODlh"]), "no PNG file"),
    "an id twice": (edited(3, id="0:0/0"), "an id comes twice"),
    "a group twice": (lambda lines: [lines[0], lines[1], lines[2], lines[4], lines[3], *lines[5:]], "an id comes twice"),
    "another prompt in a group": (edited(3, prompt_id="other"), "an id comes twice or is elsewhere"),
    "nested without end": (lambda lines: [*lines[:2], "[" * 100_000 + "\n", *lines[3:]], "line 3 is no line"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_line_is_named_at_its_batch(name: str, tmp_path: Path) -> None:
    change, said = DAMAGED[name]
    file = RolloutFile(written(tmp_path / "log", change))
    with pytest.raises(EngineError, match=said):
        file.batch(0, drawn=["a", "0"])


def test_a_line_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "log", lambda lines: [*lines[:2], " " * 5000 + lines[2], *lines[3:]])
    monkeypatch.setattr(rollout_file, "MOST_BYTES", 4000)
    with pytest.raises(EngineError, match="line 3 is longer than 4,000 bytes"):
        RolloutFile(path).batch(0, drawn=["a", "0"])


@pytest.mark.parametrize(
    ("number", "drawn", "said"),
    [
        (3, ["a", "3"], "no generation batch 3, it ends before it: lower optimizer.steps"),
        (0, ["b", "0"], r"batch 0 is of other prompts: number 0 of 2 is \['a'\] there and \['b'\] of 2 here"),
        (0, ["a"], "other prompts"),
        (0, [], "other prompts"),
    ],
)
def test_a_batch_that_is_not_this_runs_is_refused(number: int, drawn: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=said):
        RolloutFile(written(tmp_path / "log")).batch(number, drawn=drawn)


def test_a_batch_that_was_left_out_is_missed(tmp_path: Path) -> None:
    file = RolloutFile(written(tmp_path / "log", lambda lines: [*lines[:5], *lines[6:]]))
    file.batch(0, drawn=["a", "0"])
    with pytest.raises(EngineError, match="no generation batch 1, it goes on with batch 2"):
        file.batch(1, drawn=["a", "1"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ('{"step": 1, "prompt_id": "a"}\n', "line 1 is no line of that kind"),
        ("\x00\x01\n", "line 1 is no line"),
        (first_line({}).replace('"format": 1', '"format": 2'), "has format 2, and this program reads 1"),
    ],
)
def test_a_file_that_is_no_log_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text, "ascii")
    with pytest.raises(ConfigError, match=said):
        RolloutFile(tmp_path / "log")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.log: .*cannot be read .*--log-rollouts"):
        RolloutFile(tmp_path / "none")
