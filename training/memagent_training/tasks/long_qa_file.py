"""Contexts of a data set, made once and kept: what `memagent-train data long-qa` writes and `task.data` names.

A context depends on seed and question alone, so the file is the same for any number of workers, and what a killed run left
(`FILE.part`) is gone on with. `FILE` itself appears when all of it is written, after its index (`FILE.index.npy`) and its
manifest (`FILE.manifest.json`): digest of the source, settings, and what was counted.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from memagent.errors import ConfigError, InputError
from memagent.forks import end_with_parent
from memagent_renderers.files import write_atomic
from memagent_training.tasks.base import Row
from memagent_training.tasks.long_qa import LongQuestions, QuestionContexts
from memagent_training.tasks.stored import line_spans, write_index

VERSION = 1
_SHORT = b'"complete": false}\n'
"""End of the line of a context that is shorter than asked."""


def write_long_qa(
    settings: LongQuestions,
    out: Path,
    *,
    n: int,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write the first `n` questions of `settings.questions` with their contexts to `out`; its manifest.

    A file that is there already with the same source and settings is left as it is. `progress(done, total)` is called after
    each row. Raises `ConfigError` where `out` holds something else, and `InputError` for a source that cannot be used.
    """
    if settings.questions is None:
        raise ConfigError("a file of contexts is made of `questions`, a data set")
    if n < 1 or seed < 0 or workers < 1:
        raise InputError(f"got n = {n}, seed = {seed}, workers = {workers}; give 1 or more, 0 or more, 1 or more")
    made = _description(settings, n=n, seed=seed)
    manifest = out.with_name(f"{out.name}.manifest.json")
    if out.exists():
        return _written(out, manifest, made)
    contexts = settings.contexts(n, seed=seed)
    part = _begun(out, made)
    offsets = _whole_lines(part, contexts)
    with part.open("r+b") as file:
        file.truncate(offsets[-1])
        file.seek(offsets[-1])
        for line in _lines(contexts, len(offsets) - 1, workers):
            file.write(line)
            offsets.append(offsets[-1] + len(line))
            progress(len(offsets) - 1, len(contexts))
        file.flush()
        os.fsync(file.fileno())
    return _finish(out, part, manifest, made, contexts)


def _description(settings: LongQuestions, *, n: int, seed: int) -> dict[str, Any]:
    """What decides the bytes of the file."""
    return {
        "version": VERSION,
        "task": settings.name,
        "questions": _source(settings.questions),
        "pool": _source(settings.pool),
        "documents": settings.documents,
        "tokens": settings.tokens,
        "n": n,
        "seed": seed,
    }


def _source(name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no file `{path}`; give a data set as JSON, such as hotpot_train_v1.1.json")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}


def _written(out: Path, manifest: Path, made: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a file that is there. Raises `ConfigError` unless it is what would be written."""
    try:
        found: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
        same = found["made"] == made and found["bytes"] == out.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise ConfigError(f"`{out}` is there already, from another source or other settings; delete it, or give another --out")
    return found


def _begun(out: Path, made: dict[str, Any]) -> Path:
    """The unfinished file, begun now or before. Raises `ConfigError` when it was begun with other settings."""
    part, of = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.part.json")
    text = json.dumps(made, indent=1) + "\n"
    if not of.exists():
        part.unlink(missing_ok=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(of, text, mode=0o644)
    elif of.read_text("utf-8") != text:
        raise ConfigError(
            f"`{part}` was begun from another source or with other settings (`{of.name}`); delete both, or give another --out"
        )
    part.touch()
    return part


def _whole_lines(part: Path, contexts: QuestionContexts) -> list[int]:
    """Where the lines of `part` begin and the last one ends, as far as each is whole and of the question that it must be."""
    offsets = [0]
    if not part.stat().st_size:
        return offsets
    with part.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for number, (start, end) in enumerate(line_spans(content)):
            if number >= len(contexts) or not _is_row(content[start:end], contexts.id(number)):
                break
            offsets.append(end)
    return offsets


def _is_row(line: bytes, id: str) -> bool:
    try:
        return line.endswith(b"\n") and bool(json.loads(line)["id"] == id)
    except (ValueError, KeyError, TypeError):
        return False


def _finish(out: Path, part: Path, manifest: Path, made: dict[str, Any], contexts: QuestionContexts) -> dict[str, Any]:
    """Count, write index and manifest, and give the file its name."""
    offsets = _whole_lines(part, contexts)
    if offsets[-1] != part.stat().st_size or len(offsets) - 1 != len(contexts):
        raise ConfigError(f"`{part}` was changed while it was written; let one process at a time write it, and start again")
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        short = sum(line.endswith(_SHORT) for line in file)
    told = {
        "made": made,
        "rows": len(contexts),
        "short": short,
        "left_out": contexts.left_out,
        "bytes": offsets[-1],
        "sha256": digest,
    }
    write_index(out, offsets)
    write_atomic(manifest, json.dumps(told, indent=1) + "\n", mode=0o644, sync=True)
    os.replace(part, out)
    out.with_name(f"{out.name}.part.json").unlink()
    return told


# -- rows ---------------------------------------------------------------------------------------------------------------


def _encoded(row: Row) -> bytes:
    """A line. Half of a surrogate pair, which UTF-8 has no bytes for, is written as JSON's escape of it."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


_held: list[QuestionContexts] = []
"""In a worker: what it makes rows of."""


def _lines(contexts: QuestionContexts, start: int, workers: int) -> Iterator[bytes]:
    """The lines from number `start` on, in order."""
    numbers = range(start, len(contexts))
    if workers == 1:
        yield from (_encoded(contexts.row(number)) for number in numbers)
        return
    # a forked worker has the data set already; where processes cannot be forked it is sent to each
    how = get_context("fork" if sys.platform == "linux" else "spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=how, initializer=_adopt, initargs=(contexts,)) as executor:
            yield from executor.map(_line, numbers, chunksize=4)
    except BrokenProcessPool as error:
        raise ConfigError(
            "a worker process was ended from outside, perhaps for want of memory; run the same command again, with fewer "
            "--workers: it goes on where this one stopped"
        ) from error


def _adopt(contexts: QuestionContexts) -> None:
    _held[:] = [contexts]
    end_with_parent()


def _line(number: int) -> bytes:
    return _encoded(_held[0].row(number))
