"""`memagent import`: texts and conversations into a memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from invocations import data, run

from memagent.errors import InputError


def test_import_of_texts_twice(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("My dog is called Biscuit.\n\nI live in Lyon.")
    (tmp_path / "b.md").write_text("# Food\nrice")
    files = [tmp_path / "a.txt", tmp_path / "b.md"]
    (first,) = data("import", *files)["imported"]
    assert first == {"user": "default", "sessions": 2, "added": 3, "skipped": 0, "consolidated": 3}
    (second,) = data("import", *files)["imported"]
    assert (second["added"], second["skipped"], second["consolidated"]) == (0, 3, 0)
    assert [item["session"] for item in data("memory", "list")["items"]] == ["a", "a", "b"]


def test_import_into_one_session_without_flush(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\nTwo.")
    (found,) = data("import", tmp_path / "a.txt", "--session", "s", "--user", "ada", "--no-consolidate")["imported"]
    assert (found["user"], found["consolidated"]) == ("ada", 0)
    assert data("memory", "stats", "--user", "ada")["stats"]["pending"] == 2
    assert data("sessions", "list", "--user", "ada")["sessions"][0]["name"] == "s"


def test_a_bad_line_in_the_last_file_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.")
    (tmp_path / "b.jsonl").write_text('{"content": "x"}\nnonsense')
    with pytest.raises(InputError, match=r"b\.jsonl, line 2"):
        run("import", tmp_path / "a.txt", tmp_path / "b.jsonl")
    assert data("memory", "list")["items"] == []


def test_import_of_a_locomo_conversation(locomo: Path) -> None:
    (found,) = data("import", locomo, "--sample", "conv-26")["imported"]
    assert found == {"user": "conv-26", "sessions": 19, "added": 419, "skipped": 0, "consolidated": 419}
    hits = data("memory", "search", "When did Caroline go to the LGBTQ support group?", "--user", "conv-26")["found"]
    assert "D1:3" in [hit["item"]["id"] for hit in hits]


def test_import_of_a_sample_for_another_user(locomo: Path) -> None:
    (found,) = data("import", locomo, "--sample", "conv-26", "--user", "ada", "--no-consolidate")["imported"]
    assert (found["user"], found["added"]) == ("ada", 419)
    with pytest.raises(InputError, match="pick one of them by --sample"):
        run("import", locomo, "--user", "ada")
