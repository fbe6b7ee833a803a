"""What all benches run on: nothing lost, nothing twice, failures are data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from memagent.errors import InputError, ModelError, UnknownName
from memagent.evaluation.runner import (
    Progress,
    ResultLog,
    ResultRecord,
    RunSettings,
    failures_of,
    fingerprint,
    in_processes,
    open_run,
    reason,
)
from memagent.models.scripted import ScriptedModel
from memagent.types import user_message


class Record(ResultRecord):
    case: str
    seed: int = 0
    value: float = 1.0

    @property
    def key(self) -> tuple[str, int]:
        return self.case, self.seed


RECORD = Record(case="q")


def test_records_are_found_again_under_the_same_settings_only(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.log(Record, {"budget": 1}).add(RECORD)
    with open_run(tmp_path) as run:
        assert run.log(Record, {"budget": 1}).items == {("q", 0): RECORD}
        assert run.log(Record, {"budget": 2}).items == {}
    with open_run() as run:
        assert run.log(Record, {"budget": 1}).file is None


def test_half_a_line_is_passed_over_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    ResultLog(file, kind=Record).add(RECORD)
    with file.open("a") as opened:
        opened.write(RECORD.model_dump_json()[:20])
    other = RECORD.model_copy(update={"seed": 1})
    ResultLog(file, kind=Record).add(other)
    assert list(ResultLog(file, kind=Record).items.values()) == [RECORD, other]


def test_a_failed_record_is_tried_again_and_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    log = ResultLog(file, kind=Record)
    log.add(Record(case="q", value=0.0, error=reason(ModelError("gone"))))
    assert not log.done(RECORD.key)
    assert failures_of(log.items.values()) == {"count": 1, "first": ["('q', 0): ModelError: gone"]}
    log.add(RECORD)
    assert ResultLog(file, kind=Record).done(RECORD.key)
    assert list(ResultLog(file, kind=Record).items.values()) == [RECORD]


def test_line_ends_within_a_text_do_not_part_a_record(tmp_path: Path) -> None:
    record = Record(case="a\u2028b\x85c\r\nd")
    ResultLog(tmp_path / "items.jsonl", kind=Record).add(record)
    assert list(ResultLog(tmp_path / "items.jsonl", kind=Record).items.values()) == [record]


def test_a_reply_is_paid_once_over_two_runs_in_a_folder(tmp_path: Path) -> None:
    model = ScriptedModel(["Lima"])
    for _ in range(2):
        with open_run(tmp_path) as run:
            assert run.model(model).generate([user_message("Where?")]).text == "Lima"


def test_units_come_back_in_order_and_move_the_bar() -> None:
    moved: list[int] = []

    @contextmanager
    def bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
        assert (label, total) == ("units", 5)
        yield moved.append

    with open_run(concurrency=3, progress=Progress(bar=bar)) as run:
        assert run.map("units", lambda unit: unit * unit, range(5)) == [0, 1, 4, 9, 16]
    assert moved == [1] * 5


def test_an_error_ends_the_run() -> None:
    def work(unit: int) -> int:
        raise InputError(f"unit {unit}")

    with open_run() as run, pytest.raises(InputError, match="unit"):
        run.map("units", work, range(3))


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_results_in_order(workers: int) -> None:
    assert in_processes("users", str, range(4), workers=workers) == ["0", "1", "2", "3"]


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    length: int = 10

    def known_methods(self) -> Sequence[str]:
        return "rag", "notes"


def test_what_shapes_an_item_is_told_apart_from_which_items_there_are() -> None:
    one = Settings(methods=("rag",), budgets=(64,), embedder="hash")
    more = Settings(methods=("notes", "rag"), budgets=(16, 64), embedder="hash", limit=3, concurrency=9)
    other = Settings(methods=("rag",), budgets=(64,), embedder="hash", length=11)
    assert fingerprint(one.shaping()) == fingerprint(more.shaping()) != fingerprint(other.shaping())
    assert {"code", "libraries", "embedder", "length"} == set(one.shaping())


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownName, match="notes"):
        Settings(methods=("note",), budgets=(64,))
    with pytest.raises(InputError, match="each method is named once"):
        Settings(methods=("rag", "rag"), budgets=(64,))
    with pytest.raises(InputError, match="budget"):
        Settings(methods=("rag",), budgets=())
    with pytest.raises(InputError, match="limit is 1 or more, not 0"):
        Settings(methods=("rag",), budgets=(64,), limit=0)
