"""Reports are those that were written down: a step that moves a number says so.

Values are compared to 1e-4 where linear algebra takes part (its last bits differ between machines and may turn ties over), and
to the digit written down elsewhere.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


def _runs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_runs", Path(__file__).parent / "runs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUNS = _runs()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", RUNS.RUNS)
def test_a_report_is_the_one_that_was_written_down(name: str) -> None:
    make, data = RUNS.RUNS[name]
    if data is not None and not data.exists():
        pytest.skip("real data absent")
    wanted = json.loads(RUNS.file_of(name).read_text("utf-8"))
    found = make()
    assert [_key(row) for row in found] == [_key(row) for row in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        for field, value in theirs.items():
            if isinstance(value, float):
                assert ours[field] == pytest.approx(value, abs=1e-4), _key(theirs)


def _key(row: dict[str, object]) -> tuple[object, ...]:
    return tuple((name, value) for name, value in row.items() if not isinstance(value, float))
