"""Reading conversations and texts that were made elsewhere, as batches of messages ready to be observed.

Four formats: plain text (a message a paragraph), Markdown (a message a section), JSONL (a message a line: chat logs
and our own exports) and LoCoMo. Reading one file twice gives the same messages with the same ids, so that an import
that was cut short is simply done again: what is stored already is skipped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from memagent.errors import InputError
from memagent.types import Message

Format = Literal["auto", "text", "markdown", "jsonl", "locomo"]
FORMATS: tuple[str, ...] = get_args(Format)

LONGEST = 8_000
"""Characters of a paragraph or section above which it becomes several messages, cut between words."""
_BATCH = 500
_SUFFIXES = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "locomo",
}
_ALIASES = {"text": "content", "name": "speaker", "timestamp": "time"}
_ROLES = {"human": "user", "ai": "assistant", "bot": "assistant", "model": "assistant"}
_EXPORT = "memagent_export"


@dataclass(frozen=True)
class Batch:
    """Messages of one session, in order."""

    user: str | None
    """Whom the file says they belong to; None: it does not say."""
    session: str
    messages: list[Message]


def read(path: str | Path, *, format: str = "auto", sample: str | None = None) -> Iterator[Batch]:
    """The messages of a file. `sample` names the one LoCoMo conversation wanted; each is a user of its own.

    Raises `InputError` naming the file, and the line where there is one.
    """
    file = Path(path)
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
    kind = detect(file) if format == "auto" else format
    if sample is not None and kind != "locomo":
        raise InputError(f"{file.name}: a sample can be picked from LoCoMo files only, this is read as {kind}")
    if kind == "locomo":
        yield from _locomo(file, sample)
    elif kind == "jsonl":
        yield from _jsonl(file)
    else:
        texts = _sections(file) if kind == "markdown" else _paragraphs(file)
        yield from _texts(_session_name(file), texts)


def detect(path: Path) -> str:
    """The format of a file: by its suffix, else by how its first line that is not empty begins."""
    by_suffix = _SUFFIXES.get(path.suffix.lower())
    if by_suffix is not None and by_suffix != "locomo":
        return by_suffix
    first = next((line.lstrip() for _, line in _lines(path) if line.strip()), "")
    if by_suffix == "locomo":
        return "locomo" if first.startswith("[") else "jsonl"
    return "jsonl" if first.startswith("{") else "text"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends. Raises `InputError` where the file cannot be read as UTF-8."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    with file:
        number = 0
        try:
            for number, raw in enumerate(file, 1):
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise InputError(f"{path.name}, line {number} is not UTF-8; save the file as UTF-8 first") from None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error


def _session_name(path: Path) -> str:
    name = "".join(sign if sign.isprintable() else " " for sign in path.stem).strip()
    return name[:200] or "import"


# -- text and Markdown ------------------------------------------------------------------------------------------------


def _paragraphs(path: Path) -> Iterator[str]:
    """Runs of lines between empty ones."""
    paragraph: list[str] = []
    for _, line in _lines(path):
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph = []
    if paragraph:
        yield "\n".join(paragraph)


def _sections(path: Path) -> Iterator[str]:
    """Sections of a Markdown file, each below its own heading and those it is nested in.

    A heading without a text of its own is not a section; it stands above the sections within it.
    """
    lines = [line for _, line in _lines(path)]
    above: list[tuple[int, str]] = []
    for level, start, body, stop in _spans(lines):
        heading = "\n".join(lines[start:body])
        above = [one for one in above if one[0] < level]
        text = "\n".join(lines[body:stop]).strip("\n").rstrip()
        if text.strip():
            yield "\n\n".join([*(one[1] for one in above), *([heading] if heading else []), text])
        if heading:
            above.append((level, heading))


def _spans(lines: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """Level, first line, first line after the heading and end of each section; level 0 is the text before any."""
    from markdown_it import MarkdownIt

    starts = [(0, 0, 0)]
    for token in MarkdownIt("commonmark").parse("\n".join(lines)):
        if token.type == "heading_open" and token.level == 0 and token.map:
            starts.append((int(token.tag[1:]), token.map[0], token.map[1]))
    ends = [start for _, start, _ in starts[1:]] + [len(lines)]
    return [(level, start, body, end) for (level, start, body), end in zip(starts, ends, strict=True)]


def _texts(session: str, texts: Iterable[str]) -> Iterator[Batch]:
    pieces = (piece for text in texts for piece in _pieces(text))
    identify = _Identities(session)
    batch: list[Message] = []
    for piece in pieces:
        batch.append(identify(Message(role="user", content=piece)))
        if len(batch) == _BATCH:
            yield Batch(None, session, batch)
            batch = []
    if batch:
        yield Batch(None, session, batch)


def _pieces(text: str) -> Iterator[str]:
    """A text, cut between words into pieces of at most `LONGEST` characters; a longer word is cut within."""
    while len(text) > LONGEST:
        cut = max(text.rfind(sign, LONGEST // 2, LONGEST) for sign in ("\n", " ")) + 1 or LONGEST
        yield text[:cut].rstrip()
        text = text[cut:].lstrip()
    if text:
        yield text


class _Identities:
    """Gives messages without an id one that depends on what they say, where, and how often they said it before."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._seen: Counter[bytes] = Counter()

    def __call__(self, message: Message) -> Message:
        from memagent.db.log import digest

        if message.id is not None:
            return message
        when = message.time.isoformat() if message.time else ""
        said = digest(self._session, message.role, message.speaker or "", when, message.model_dump_json())
        self._seen[said] += 1
        return message.model_copy(update={"id": f"i{digest(said.hex(), str(self._seen[said])).hex()[:20]}"})


# -- JSONL ------------------------------------------------------------------------------------------------------------


def _jsonl(path: Path) -> Iterator[Batch]:
    """Runs of lines of one session. Lines without a session belong to one named like the file."""
    identities: dict[str, _Identities] = {}
    session, batch = "", list[Message]()
    for number, row in _rows(path):
        place = _place(path, number, row)
        message = _message(path, number, row)
        if message is None:
            continue
        if batch and (place != session or len(batch) == _BATCH):
            yield Batch(None, session, batch)
            batch = []
        session = place
        batch.append(identities.setdefault(place, _Identities(place))(message))
    if batch:
        yield Batch(None, session, batch)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file; the first line of an export of ours is checked and left out."""
    first = True
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path.name}, line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path.name}, line {number} is not a JSON object with role and content")
        if first and _EXPORT in row:
            _check_header(path, number, row)
        else:
            yield number, row
        first = False


def _check_header(path: Path, number: int, row: dict[str, Any]) -> None:
    from memagent.db.transfer import EXPORT_VERSION

    if row[_EXPORT] != EXPORT_VERSION:
        raise InputError(
            f"{path.name}, line {number}: an export of version {row[_EXPORT]!r}; this program reads {EXPORT_VERSION}. "
            "Was it written by a newer memagent?"
        )


def _place(path: Path, number: int, row: dict[str, Any]) -> str:
    place = row.get("session")
    if place is None:
        return _session_name(path)
    name = str(place)
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise InputError(f"{path.name}, line {number}: session: a printable name of 1 to 200 characters is needed")
    return name


def _message(path: Path, number: int, row: dict[str, Any]) -> Message | None:
    """The message of a line; None for one that says nothing, such as a bare tool call."""
    from pydantic import ValidationError

    from memagent.db.log import encode

    fields = {_ALIASES.get(name, name): value for name, value in row.items() if name not in _ALIASES}
    fields |= {_ALIASES[name]: value for name, value in row.items() if _ALIASES.get(name, name) not in fields}
    if "content" not in fields:
        raise InputError(f"{path.name}, line {number}: no content; a line is an object with role and content")
    if fields["content"] in (None, "", []):
        return None
    try:
        message = Message.model_validate(_plain(fields))
        encode(message)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise InputError(f"{path.name}, line {number}: {where}: {problem['msg']}") from None
    except InputError as error:
        raise InputError(f"{path.name}, line {number}: {error}") from None
    return message


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Message`, with common spellings made ours. A time without a zone is taken as UTC."""
    names = ("role", "content", "time", "speaker", "id")
    known = {name: fields[name] for name in names if fields.get(name) is not None}
    role = known.get("role", "user")
    known["role"] = _ROLES.get(role, role) if isinstance(role, str) else role
    if isinstance(known.get("id"), int):
        known["id"] = str(known["id"])
    if isinstance(known.get("time"), str):
        known["time"] = _time(known["time"])
    return known


def _time(text: str) -> datetime | str:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return text
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# -- LoCoMo -----------------------------------------------------------------------------------------------------------


def _locomo(path: Path, sample: str | None) -> Iterator[Batch]:
    from memagent.evaluation import locomo

    conversations = locomo.load(path)
    names = [one.name for one in conversations]
    if sample is not None and sample not in names:
        raise InputError(f"{path.name} holds no sample {sample!r}; it holds {', '.join(names)}")
    for conversation in conversations:
        if sample is None or conversation.name == sample:
            for session, turns in conversation.sessions:
                yield Batch(conversation.name, session, list(turns))
