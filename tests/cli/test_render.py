"""`memagent render`: modes, readers, what is said about what cannot be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from invocations import data, invoke, run

from memagent.errors import BudgetError, InputError, UnknownName
from memagent_renderers.legibility_curve import LegibilityCurve


@pytest.mark.parametrize("engine", ["embedded", "fake"])
def test_render_writes_a_picture_within_the_budget(tmp_path: Path, engine: str) -> None:
    page, out = tmp_path / "page.md", tmp_path / "page.png"
    page.write_text("# Ada\n- lives in **Lyon**\n")
    found = data("render", page, "-o", out, "--budget", 64, "--engine", engine)
    assert found["tokens"] <= 64
    assert found["dropped"] == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    shown = run("render", page, "-o", out, "--budget", 64, "--engine", engine)
    assert f"{found['width']} x {found['height']} px" in shown


def test_render_of_what_cannot_be(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot read"):
        run("render", tmp_path / "absent.md", "-o", tmp_path / "out.png")
    with pytest.raises(InputError, match="not UTF-8"):
        run("render", page, "-o", tmp_path / "out.png")
    with pytest.raises(BudgetError):
        run("render", page, "-o", tmp_path / "out.png", "--budget", 0)
    page.write_text("x")
    with pytest.raises(UnknownName, match="quill"):
        run("render", page, "-o", tmp_path / "out.png", "--engine", "quill")
    with pytest.raises(InputError, match="cannot write"):
        run("render", page, "-o", tmp_path / "absent" / "out.png", "--engine", "fake")


def test_a_picture_is_a_png_named_after_its_file_unless_told_otherwise(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Ada")
    assert data("render", page, "--engine", "fake")["file"] == str(tmp_path / "page.png")
    with pytest.raises(InputError, match=r"Name it out\.png"):
        run("render", page, "-o", tmp_path / "out.jpg", "--engine", "fake")
    assert not (tmp_path / "out.jpg").exists()


def test_what_no_font_draws_is_not_also_called_illegible(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("سلام Привет")
    said = invoke("render", page).stderr
    assert "no font here draws" in said
    assert "Cyrillic" in said
    assert "Arabic" not in said


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text("# Ada\n\n" + "She lives in Lyon with a dog called Biscuit, and keeps bees. " * 40)
    return path


def test_render_for_comparison_shrinks(page: Path, tmp_path: Path) -> None:
    sizes = {}
    for mode in ("fit", "shrink", "uniform"):
        found = data("render", page, "-o", tmp_path / f"{mode}.png", "--budget", 16, "--mode", mode)
        assert found["mode"] == mode
        assert found["tokens"] <= 16
        sizes[mode] = found["sizes"]["body"]
    assert sizes["shrink"] < sizes["uniform"] <= sizes["fit"]
    assert "--mode" in invoke("render", page, "-o", tmp_path / "x.png", "--mode", "blur").stderr


def test_render_for_another_eye_takes_its_curves(page: Path, tmp_path: Path) -> None:
    LegibilityCurve.threshold(14.0, "weak").save(tmp_path / "weak.json")
    found = data("render", page, "-o", tmp_path / "out.png", "--budget", 64, "--legibility", tmp_path / "weak.json")
    assert found["legibility"] == "weak"
    assert found["sizes"]["body"] == 14.0
    with pytest.raises(InputError, match="legibility curves"):
        run("render", page, "-o", tmp_path / "out.png", "--legibility", page)


def test_render_says_what_ocr_reads_and_what_it_never_will(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    page = tmp_path / "page.md"
    page.write_text("Moscow is Москва", "utf-8")
    found = data("render", page, "-o", tmp_path / "out.png", "--budget", 64, "--read")
    assert "Moscow is" in found["read"].replace("\n", " ")
    assert found["unreadable"] == ["Cyrillic"]
    assert "Cyrillic" in invoke("render", page, "-o", tmp_path / "out.png").stderr
