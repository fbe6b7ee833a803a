"""A file is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent_renderers.files import atomic_file, write_atomic


@pytest.mark.parametrize(("data", "stored"), [("é\n", "é\n".encode()), (b"\x00\xff", b"\x00\xff")])
def test_text_and_bytes_arrive_as_they_are(tmp_path: Path, data: str | bytes, stored: bytes) -> None:
    write_atomic(tmp_path / "file", data, sync=True)
    assert (tmp_path / "file").read_bytes() == stored


def test_files_are_private_unless_told_otherwise(tmp_path: Path) -> None:
    write_atomic(tmp_path / "private", "x")
    write_atomic(tmp_path / "shared", "x", mode=0o644)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("private", "shared")] == [0o600, 0o644]


def test_an_error_half_way_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", "old")

    def fail() -> None:
        with atomic_file(tmp_path / "file") as file:
            file.write(b"new")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
