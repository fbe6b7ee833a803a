"""Priors: the pass rate of earlier visits, a constant, a table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from memagent.errors import ConfigError
from memagent_training.grpo.priors import PRIORS, ConstantPrior, HistoryPrior, TablePrior
from memagent_training.grpo.prompt_stats import PromptStats


def test_the_prior_from_history_is_the_pass_rate_in_reward_units() -> None:
    history = PromptStats()
    part = HistoryPrior()
    assert part.value("a", history=history) is None
    history.record([("a", 3, 4)])
    assert part.value("a", history=history) == 0.75
    assert HistoryPrior(low=-1, high=1).value("a", history=history) == 0.5
    assert HistoryPrior(smoothing=0.5).value("a", history=history) == 0.625
    assert part.value("b", history=history) is None


def test_constant_and_table_priors(tmp_path: Path) -> None:
    history = PromptStats()
    assert ConstantPrior(constant=-0.5).value("a", history=history) == -0.5
    path = tmp_path / "table.jsonl"
    path.write_text('{"id": "a", "p": 0.25, "note": "x"}\n\n{"id": "b", "p": 1}\n', "utf-8")
    table = TablePrior(path=str(path), low=-1)
    assert [table.value(name, history=history) for name in ("a", "b", "c")] == [-0.5, 1.0, None]
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
        lambda: HistoryPrior(low=1, high=0),
        lambda: HistoryPrior(smoothing=1),
        lambda: ConstantPrior(constant=math.nan),
        lambda: TablePrior(path=str(tmp_path / "absent")),
        lambda: TablePrior(path=str(path)),
    ):
        with pytest.raises(ConfigError):
            wrong()
