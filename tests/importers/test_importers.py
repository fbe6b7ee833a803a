"""What becomes of files: every format, twice the same, and errors that name file and line."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memagent import Store
from memagent.errors import InputError
from memagent.importers import FORMATS, Batch, detect, read
from memagent.importers.text import MAX_CHARS
from memagent.types import Message


def _write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _texts(path: Path, format: str = "auto") -> list[str]:
    return [message.text for batch in read(path, format=format) for message in batch.messages]


def _jsonl(folder: Path, *rows: object, name: str = "chat.jsonl") -> Path:
    return _write(folder, name, "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))


# -- text -------------------------------------------------------------------------------------------------------------


def test_text_is_a_message_a_paragraph(tmp_path: Path) -> None:
    path = _write(tmp_path, "diary.txt", "\ufeffOne\nstill one\r\n\r\n  \n\nTwo  \n")
    (batch,) = read(path)
    assert (batch.user, batch.session) == (None, "diary")
    assert [message.text for message in batch.messages] == ["One\nstill one", "Two"]
    assert {message.role for message in batch.messages} == {"user"}


def test_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert list(read(_write(tmp_path, "empty.txt", ""))) == []
    assert list(read(_write(tmp_path, "empty.md", "# Only a heading\n"))) == []
    assert list(read(_write(tmp_path, "empty.jsonl", "\n\n"))) == []


def test_long_paragraphs_are_cut_between_words(tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(5_000))
    pieces = _texts(_write(tmp_path, "long.txt", words))
    assert max(map(len, pieces)) <= MAX_CHARS
    assert " ".join(pieces) == words
    unbroken = _texts(_write(tmp_path, "unbroken.txt", "x" * 20_000))
    assert "".join(unbroken) == "x" * 20_000


def test_many_paragraphs_come_in_several_batches_of_one_session(tmp_path: Path) -> None:
    path = _write(tmp_path, "many.txt", "\n\n".join(f"line {number}" for number in range(1_200)))
    batches = list(read(path))
    assert [len(batch.messages) for batch in batches] == [500, 500, 200]
    assert len({message.id for batch in batches for message in batch.messages}) == 1_200


def test_not_utf8_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bad\.txt, line 2 is not UTF-8"):
        _texts(_write(tmp_path, "bad.txt", b"fine\n\xff\xfe\n"))


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        list(read(tmp_path / "absent.txt"))
    with pytest.raises(InputError, match="cannot read"):
        list(read(tmp_path))


# -- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_is_a_message_a_section_below_its_headings(tmp_path: Path) -> None:
    text = "before\n\n# Ada\n\n## Food\n\nlikes rice\n\n### When\nevenings\n\n## Home\nLyon\n\n# Bo\nx\n"
    assert _texts(_write(tmp_path, "people.md", text)) == [
        "before",
        "# Ada\n\n## Food\n\nlikes rice",
        "# Ada\n\n## Food\n\n### When\n\nevenings",
        "# Ada\n\n## Home\n\nLyon",
        "# Bo\n\nx",
    ]


def test_markdown_headings_in_code_are_text_and_underlined_ones_are_headings(tmp_path: Path) -> None:
    text = "Title\n=====\n\n```\n# not a heading\n```\n\n> # quoted\n"
    assert _texts(_write(tmp_path, "code.md", text)) == ["Title\n=====\n\n```\n# not a heading\n```\n\n> # quoted"]


# -- JSONL ------------------------------------------------------------------------------------------------------------


def test_jsonl_keeps_every_field(tmp_path: Path) -> None:
    row = {
        "role": "assistant",
        "content": "Hi",
        "time": "2024-05-01T10:00:00Z",
        "speaker": "Bo",
        "id": "a1",
        "session": "s",
    }
    (batch,) = read(_jsonl(tmp_path, row))
    time = datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert batch == Batch(None, "s", [Message(role="assistant", content="Hi", time=time, speaker="Bo", id="a1")])


def test_jsonl_takes_common_spellings(tmp_path: Path) -> None:
    first = {"role": "human", "text": "Hi", "timestamp": "2024-05-01 10:00", "name": "Ada", "model": "x"}
    second = {"role": "ai", "content": "Ho", "time": 1714557600, "id": 7}
    (batch,) = read(_jsonl(tmp_path, first, second, {"content": "no role"}))
    one, two, three = batch.messages
    assert (one.role, one.text, one.speaker, one.time) == ("user", "Hi", "Ada", datetime(2024, 5, 1, 10, tzinfo=UTC))
    assert (two.role, two.id, two.time) == ("assistant", "7", datetime(2024, 5, 1, 10, tzinfo=UTC))
    assert three.role == "user"


def test_jsonl_sessions_keep_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [{"content": str(number), "session": session} for number, session in enumerate("aabba")]
    assert [(batch.session, len(batch.messages)) for batch in read(_jsonl(tmp_path, *rows))] == [
        ("a", 2),
        ("b", 2),
        ("a", 1),
    ]


def test_jsonl_leaves_out_messages_that_say_nothing(tmp_path: Path) -> None:
    rows = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": ""},
        {"content": "x"},
    ]
    assert _texts(_jsonl(tmp_path, *rows)) == ["x"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 is not a JSON object"),
        ('{"role": "user"}', "line 2: no content"),
        ('{"role": "nobody", "content": "x"}', "line 2: a message's role"),
        ('{"content": "x", "time": "yesterday"}', "line 2: a message's time"),
        ('{"content": 5}', "line 2: a message's content"),
        ('{"content": "\\ud800"}', "line 2: the text holds a lone surrogate"),
        ('{"content": "x", "session": " "}', "line 2: a session"),
        ('{"content": "x", "role": ["user"]}', "line 2: a message's role"),
    ],
)
def test_jsonl_errors_name_file_and_line(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(InputError, match=rf"chat\.jsonl, {problem}"):
        list(read(_jsonl(tmp_path, {"content": "fine"}, line)))


def test_jsonl_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.json"):
        with pytest.raises(InputError, match=rf"{name}.* is not JSON"):
            list(read(_write(tmp_path, name, "[" * 1_000_000)))


@pytest.mark.parametrize("time", [None, "2024-05-01", "2024-05-01T09:00:00+02:00"])
def test_an_id_that_lines_of_a_file_share_loses_none_of_them(tmp_path: Path, time: str | None) -> None:
    lines = [{"id": "conversation-7", "time": time, "content": text} for text in ("one", "two", "two", "drei", "")]
    path = _jsonl(tmp_path, *lines)
    with Store(tmp_path / "store", embedder=None) as store:
        memory = store.memory("long_context")
        for _ in range(2):
            for batch in read(path):
                memory.add(batch.messages, session=batch.session, origin="imported")
            assert [item.text for item in memory.items()] == ["one", "two", "two", "drei"]


def test_an_id_that_two_files_share_loses_none_of_them(tmp_path: Path) -> None:
    with Store(tmp_path / "store", embedder=None) as store:
        memory = store.memory("long_context")
        for name, text in (("a.jsonl", "tea"), ("b.jsonl", "coffee")):
            path = _jsonl(tmp_path, {"id": 1, "time": "2024-05-01", "content": text}, name=name)
            for batch in read(path):
                memory.add(batch.messages, session=batch.session, origin="imported")
        assert [item.text for item in memory.items()] == ["tea", "coffee"]


def test_own_export_comes_back_whole(tmp_path: Path) -> None:
    with Store(tmp_path / "a", embedder=None) as store:
        ada = store.memory("long_context", user="ada", session="one")
        ada.add("My dog is called Biscuit.")
        ada.add([Message(role="assistant", content="Woof.")], session="two")
        ada.export_file(tmp_path / "ada.jsonl")
        said = ada.messages()
    batches = list(read(tmp_path / "ada.jsonl"))
    assert [batch.session for batch in batches] == ["one", "two"]
    assert [message for batch in batches for message in batch.messages] == said


def test_export_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: an export of version 99"):
        list(read(_jsonl(tmp_path, {"memagent_export": 99})))


# -- LoCoMo -----------------------------------------------------------------------------------------------------------


def test_locomo_samples_are_users(locomo: Path) -> None:
    batches = list(read(locomo))
    assert len({batch.user for batch in batches}) == 6
    picked = list(read(locomo, sample="conv-26"))
    assert {batch.user for batch in picked} == {"conv-26"}
    assert picked[0].session == "session_1"
    assert sum(len(batch.messages) for batch in picked) == 419
    assert picked[0].messages[0].id == "D1:1"


def test_unknown_sample_names_those_there_are(locomo: Path) -> None:
    with pytest.raises(InputError, match=r"no sample 'conv-0'; it holds conv-26"):
        list(read(locomo, sample="conv-0"))


def test_sample_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="LoCoMo files only, this is read as text"):
        list(read(_write(tmp_path, "a.txt", "x"), sample="conv-26"))


def test_broken_locomo_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json"):
        list(read(_write(tmp_path, "a.json", "[{}]")))


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a.txt", "{", "text"),
        ("a.MD", "x", "markdown"),
        ("a.jsonl", "", "jsonl"),
        ("a.json", '\n [{"conversation"', "locomo"),
        ("a.json", '{"content": "x"}\n', "jsonl"),
        ("noname", '\n{"content": "x"}', "jsonl"),
        ("noname", "Dear diary", "text"),
    ],
)
def test_detection(tmp_path: Path, name: str, text: str, format: str) -> None:
    assert detect(_write(tmp_path, name, text)) == format
    assert format in FORMATS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat.txt", "28/10/2025, 14:04 - Ada: I moved\n28/10/2025, 14:05 - Bob: great\nto hear\n"),
        ("chat.txt", "\u200e[28.10.25, 14:03:11] Ada: I moved\n[28.10.25, 14:05:00] Bob: great\n"),
        ("noname", "10/28/25, 2:03\u202fPM - Ada Løvelace: 引っ越した\n10/28/25, 2:05\u202fPM - Bob: \U0001f389\n"),
        ("2025-10-28 a.txt", "2025-10-28 14:04 - Ada: hi\n"),
        ("a.csv", "date,from,text\n2024-01-01,Ada,hi\n"),
        ("a.HTML", "<p>hi</p>"),
        ("letter.eml", "From: ada@example.org\n\nhi\n"),
    ],
)
def test_what_would_be_taken_for_the_users_own_words_is_refused_unless_asked_for(tmp_path: Path, name: str, text: str) -> None:
    path = _write(tmp_path, name, text)
    with pytest.raises(InputError, match="--format text"):
        list(read(path))
    assert text.split(maxsplit=1)[0] in _texts(path, "text")[0]


def test_a_text_with_dates_and_colons_is_a_text(tmp_path: Path) -> None:
    text = "On 28/10/2025, 14:04 - Ada: she said hi.\n2025-10-28: rain\n14:05 tea: hot\n"
    assert detect(_write(tmp_path, "a.txt", text)) == "text"


def test_an_archive_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1 holds signs that no text has"):
        list(read(_write(tmp_path, "a", b"PK\x03\x04abc")))


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
@pytest.mark.parametrize("format", FORMATS)
def test_a_pipe_is_not_waited_for(tmp_path: Path, format: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe or a device"):
        list(read(tmp_path / "pipe", format=format))


@pytest.mark.parametrize("name", ["a\0b.txt", "a\ud800.txt"])
def test_a_name_that_no_file_has_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no file can have this name"):
        list(read(name))


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no format 'pdf'; there are auto, text"):
        list(read(tmp_path / "a.pdf", format="pdf"))


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.jsonl"])
def test_reading_twice_gives_the_same_ids_and_repeated_words_differ(tmp_path: Path, name: str) -> None:
    line = '{"content": "same"}' if name == "a.jsonl" else "same"
    path = _write(tmp_path, name, "\n\n".join([line] * 3) if name != "a.md" else "# A\nsame\n# B\nsame\n# A\nsame")
    first, second = list(read(path)), list(read(path))
    assert first == second
    assert len({message.id for batch in first for message in batch.messages}) == 3


def test_a_changed_file_adds_only_what_is_new(tmp_path: Path) -> None:
    with Store(tmp_path / "store", embedder=None) as store:
        memory = store.memory("long_context")
        for text in ("One\n\nTwo", "Zero\n\nOne\n\nTwo"):
            for batch in read(_write(tmp_path, "a.txt", text)):
                memory.add(batch.messages, session=batch.session, origin="imported")
        assert [item.text for item in memory.items()] == ["One", "Two", "Zero"]


def test_a_picture_elsewhere_in_a_line_leaves_its_name_and_the_text_is_kept(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "parts"}, {"type": "image_url", "image_url": {"url": "http://x"}}]
    path = _jsonl(tmp_path, {"role": "user", "content": parts}, {"role": "developer", "content": "be brief"})
    (batch,) = read(path)
    assert [(one.role, one.text) for one in batch.messages] == [
        ("user", "parts\n[picture left out: http://x]"),
        ("system", "be brief"),
    ]
