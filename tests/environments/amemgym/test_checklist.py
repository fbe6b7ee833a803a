"""Every item of the benchmark's conformance checklist (its specification, section 9) has a test that is named after it."""

from __future__ import annotations

import re
from pathlib import Path

ITEMS = {f"{number:02d}" for number in range(1, 26)}
_TEST = re.compile(r"^def test_amemgym_checklist_(\d\d)_\w+", re.MULTILINE)


def test_every_item_of_the_checklist_has_a_test() -> None:
    found = {name for file in Path(__file__).parent.glob("test_*.py") for name in _TEST.findall(file.read_text("utf-8"))}
    assert found == ITEMS
