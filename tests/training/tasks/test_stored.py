"""Rows that stay in their file: read when they are asked for, by an index or without one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memagent.errors import ConfigError
from memagent_training.tasks.stored import StoredRows, index_path, write_index


def whole(row: dict[str, Any]) -> dict[str, object]:
    return {"id": row["id"], "text": str(row["text"])}


def written(folder: Path, rows: list[dict[str, Any]], *, end: str = "\n") -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode() + end.encode())
    return path


def opened(path: Path, **options: Any) -> StoredRows:
    return StoredRows(path, whole, wanted="an object with id and text", **options)


ROWS = [{"id": str(number), "text": f"línea {number}: \u2028 语 {'x' * number}"} for number in range(5)]


@pytest.mark.parametrize("end", ["\n", ""])
def test_rows_are_what_the_lines_hold_in_their_order(tmp_path: Path, end: str) -> None:
    rows = opened(written(tmp_path, ROWS, end=end))
    assert list(rows) == rows[:] == ROWS
    assert (len(rows), rows[-1], rows[1:3]) == (5, ROWS[-1], ROWS[1:3])
    assert list(opened(rows.path, most=2)) == ROWS[:2]
    assert list(pickle.loads(pickle.dumps(rows))) == ROWS


def test_a_row_with_an_id_that_was_there_is_left_out(tmp_path: Path) -> None:
    rows = opened(written(tmp_path, [*ROWS[:2], ROWS[0] | {"text": "again"}, ROWS[3]]))
    assert list(rows) == [*ROWS[:2], ROWS[3]]


def test_with_an_index_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"x" * (len(lines[2]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(ConfigError, match=r"line 3: JSONDecodeError.*an object with id and text"):
        opened(path)
    write_index(path, np.cumsum([0, *map(len, lines)]).tolist())
    rows = opened(path)
    assert (rows[1], rows[4]) == (ROWS[1], ROWS[4])
    with pytest.raises(ConfigError, match=r"line 3: "):
        rows[2]


def test_an_index_of_another_file_is_not_used(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    write_index(path, [0, 7, path.stat().st_size])
    with pytest.raises(ConfigError, match="line 1: "):
        opened(path)[0]
    for wrong in ([0, 7], [0, 9, 7, path.stat().st_size], [3, path.stat().st_size], [0]):
        write_index(path, wrong)
        assert list(opened(path)) == ROWS
    index_path(path).write_bytes(pickle.dumps(Shout()))
    assert list(opened(path)) == ROWS


class Shout:
    """Unpickled, it would raise."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise RuntimeError('unpickled')",)


@pytest.mark.parametrize("content", [None, b"", b"\n", b'{"id": "1"}\n', b'["id"]\n', b'{"id": "1", "text": "\xff"}\n'])
def test_a_file_that_is_none_is_refused_with_what_a_line_holds(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="an object with id and text"):
        opened(path)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="/proc is Linux's")
def test_the_file_is_mapped_and_shared_so_that_processes_hold_one_copy(tmp_path: Path) -> None:
    rows = opened(written(tmp_path, ROWS))
    (line,) = [one for one in Path("/proc/self/maps").read_text().splitlines() if one.endswith(str(rows.path))]
    assert line.split()[1] == "r--s"
