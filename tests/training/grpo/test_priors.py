"""Priors: what earlier visits earned, a constant, a table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.needs import Score
from memagent_training.grpo.priors import PRIORS, ConstantPrior, HistoryPrior, TablePrior
from memagent_training.grpo.prompt_stats import PromptStats, Visit

ANSWER, BOTH, UNIT = Score(key="answer"), Score(), (0.0, 1.0)


def test_the_prior_from_history_is_the_mean_of_the_score_that_is_asked_for() -> None:
    history = PromptStats()
    part = HistoryPrior()
    assert part.value("a", score=ANSWER, bounds=UNIT, history=history) is None
    history.record([Visit("a", 3, 4, {"answer": 1.0, "style": -6.0}, {"answer": 4, "style": 4}, turns=-2.0)])
    values = [
        part.value("a", score=score, bounds=None, history=history)
        for score in (ANSWER, Score(key="style"), BOTH, Score(key="answer", scale=2.0, turns=3.0), Score(key="pace"))
    ]
    assert values == [0.25, -1.5, -1.25, 2 * 0.25 + 3 * -0.5, None]
    assert HistoryPrior(smoothing=0.5).value("a", score=ANSWER, bounds=UNIT, history=history) == 0.375
    assert HistoryPrior(smoothing=0.5).value("a", score=Score(key="style"), bounds=(-3.0, 0.0), history=history) == -1.5
    assert part.value("b", score=ANSWER, bounds=UNIT, history=history) is None
    with pytest.raises(InputError, match="prior `history` needs the range"):
        HistoryPrior(smoothing=0.5).value("a", score=ANSWER, bounds=None, history=history)


def test_the_prior_from_history_pools_visits_and_leaves_out_who_lacks_the_reward() -> None:
    history = PromptStats(window=2)
    history.record([Visit("a", 0, 9, {"std": 9.0}, {"std": 9})])  # falls out of the window
    history.record([Visit("a", 1, 4, {"std": 1.0, "augQ": 1.0}, {"std": 4, "augQ": 2})])
    history.record(
        [Visit("a", 2, 4, {"std": 2.0}, {"std": 4}), Visit("a", 2, 2, {"std": 2.0, "augQ": 2.0}, {"std": 2, "augQ": 2})]
    )
    part = HistoryPrior()
    assert part.value("a", score=Score(key="std"), bounds=UNIT, history=history) == 5 / 10
    assert part.value("a", score=Score(key="augQ"), bounds=UNIT, history=history) == 3 / 4
    assert part.value("a", score=BOTH, bounds=(0, 2), history=history) == 8 / 10  # what is lacking counts as 0 in a sum


def test_rewards_that_were_not_recorded_are_not_taken_for_zero() -> None:
    history = PromptStats()
    history.record([("a", 3, 4)])
    assert history.pass_rate("a") == 0.75
    assert HistoryPrior().value("a", score=BOTH, bounds=UNIT, history=history) is None


def test_constant_and_table_priors(tmp_path: Path) -> None:
    history = PromptStats()
    assert ConstantPrior(constant=-0.5).value("a", score=ANSWER, bounds=None, history=history) == -0.5
    path = tmp_path / "table.jsonl"
    path.write_text('{"id": "a", "p": 0.25, "note": "x"}\n\n{"id": "b", "p": 1}\n', "utf-8")
    table = TablePrior(path=str(path))
    assert [table.value(name, score=ANSWER, bounds=(-1.0, 1.0), history=history) for name in ("a", "b", "c")] == [
        -0.5,
        1.0,
        None,
    ]
    with pytest.raises(InputError, match="prior `table` needs the range"):
        table.value("a", score=ANSWER, bounds=None, history=history)
    assert sorted(PRIORS) == ["constant", "history", "table"]


@pytest.mark.parametrize(
    "line", ['{"id": "a"}', '{"id": "a", "p": 1.5}', '{"id": "a", "p": NaN}', '{"id": 3, "p": 0.5}', "[]", "no"]
)
def test_a_line_that_is_no_prior_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps({"id": "z", "p": 0.5}) + "\n" + line, "utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        TablePrior(path=str(path))


def test_impossible_priors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text('{"id": "a", "p": 0.5}\n' * 2, "utf-8")
    for wrong in (
        lambda: HistoryPrior(smoothing=1),
        lambda: ConstantPrior(constant=math.nan),
        lambda: TablePrior(path=str(tmp_path / "absent")),
        lambda: TablePrior(path=str(path)),
        lambda: ConstantPrior(constant=1.5).check_range(UNIT),
    ):
        with pytest.raises(ConfigError):
            wrong()
    ConstantPrior(constant=1.0).check_range(UNIT)
