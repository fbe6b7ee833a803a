"""The published table as we print it."""

from __future__ import annotations

import pytest

from memagent.environments.long_qa import dataset_files
from memagent.evaluation.published import LENGTHS, ROWS, SETS, accuracies


@pytest.mark.parametrize(("method", "budget"), ROWS)
def test_every_row_gives_its_printed_averages(method: str, budget: str) -> None:
    row = ROWS[method, budget]
    for place, printed in enumerate(row["average"]):
        values = [row[name][place] for name in SETS.values()]
        known = [value for value in values if value is not None]
        if printed is None:
            assert len(known) < len(SETS)
        else:
            assert len(known) == len(SETS)
            assert abs(sum(known) / len(known) - printed) <= 0.05 + 1e-9


def test_the_cell_printed_in_two_ways_is_the_one_that_goes_with_the_average() -> None:
    row = ROWS["MemOCR", "64"]
    assert row["TriviaQA"][2] == 65.8
    others = [row[name][2] or 0.0 for name in SETS.values() if name != "TriviaQA"]
    assert abs((sum(others) + 70.2) / 4 - (row["average"][2] or 0.0)) > 0.5


def test_the_cells_of_a_set_and_a_length() -> None:
    found = accuracies("hotpotqa", "10K")
    assert found["MemOCR"] == {"1024": 0.848, "256": 0.822, "64": 0.776, "16": 0.672}
    assert found["Qwen2.5 (raw)"] == {"100K": 0.703}
    assert "Qwen2.5 (raw)" not in accuracies("hotpotqa", "30K")
    assert accuracies("hotpotqa", "20K") == accuracies("locomo", "10K") == {}
    assert len(ROWS) == 19
    assert LENGTHS == ("10K", "30K", "100K")


def test_the_sets_are_forms_of_files_that_are_read() -> None:
    assert set(SETS) <= set(dataset_files._PARSE)
