"""Files of this program's own: JSON lines with a versioned first line, private, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from memagent.errors import InputError
from memagent_renderers.files import atomic_file

Row = dict[str, object]


def write_lines(path: Path, lines: Iterable[Row]) -> None:
    """Write a file with mode 0600, renamed into place. Raises `InputError` where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, sync=True) as file:
            file.writelines((json.dumps(line, ensure_ascii=False) + "\n").encode() for line in lines)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def read_lines(path: Path, marker: str, version: int) -> tuple[Row, list[tuple[int, Row]]]:
    """The first line, which must hold this version under the marker, and the others with their numbers.

    Raises `InputError` naming the line.
    """
    lines = _objects(path)
    _, first = next(lines, (0, Row()))
    if first.get(marker) != version:
        raise InputError(f"{path.name} does not start with {{{marker!r}: {version}}}; is it a file of this kind?")
    return first, list(lines)


def opened(path: Path) -> IO[bytes]:
    """A file to read. Raises `InputError` for what is none: a pipe may be silent for ever, and says what it has to say once."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path} is a pipe or a device and no file; write what it gives to a file first")
        return path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        raise InputError(f"cannot read {str(path)!r}: no file can have this name") from None


def _objects(path: Path) -> Iterator[tuple[int, Row]]:
    number = 0
    try:
        with opened(path) as file:
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if not text.strip():
                    continue
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise InputError(f"{path.name}, line {number} is not a JSON object")
                yield number, row
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(f"{path.name}, line {number} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name}, line {number} is not JSON: {error}") from None


def problem(path: Path, number: int, error: ValidationError) -> InputError:
    """The first thing that is wrong with a line, in words."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return InputError(f"{path.name}, line {number}: {where}: {first['msg']}")
