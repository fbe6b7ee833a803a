"""Slash commands, one by one, on a chat that is open in this process."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from invocations import opened

from memagent.cli.chat import loop
from memagent.cli.chat.session import ChatOptions
from memagent.cli.chat.slash import COMMANDS, Slash
from memagent.errors import BudgetError, InputError, ModelError, NotFound, StoreError, UnknownName


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def slash(tmp_path: Path) -> Iterator[Slash]:
    with opened(tmp_path) as found:
        yield Slash(found)


def say(slash: Slash, line: str) -> str:
    """Type a line that is answered; returns the answer."""
    said = slash.handle(line)
    assert said is not None
    slash.question = said
    loop._turn(slash.chat, slash, said, loop._Stops())
    assert slash.answer is not None
    return slash.answer.text


def texts(slash: Slash) -> list[str]:
    memory = slash.chat.agent.memory
    assert memory is not None
    return [message.text for message in memory.messages()]


def test_every_command_runs_or_says_what_is_missing(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    missing: list[str] = []
    for name in COMMANDS:
        try:
            assert slash.handle(f"/{name}") is None
        except InputError as error:
            missing.append(str(error))
        slash.leave_multi()
    assert set(missing) == {"there is no answer yet", "there is no question yet"}
    assert slash.done
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hello", "hello"),
        ("//etc is a folder", "/etc is a folder"),
        ("", None),
        ("   ", None),
        ("/hlp", None),
        ("  /help", None),
    ],
)
def test_what_reaches_the_model(slash: Slash, line: str, said: str | None) -> None:
    assert slash.handle(line) == said


def test_unknown_commands_name_the_nearest(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    slash.handle("/memry search x")
    assert "did you mean /memory?" in capsys.readouterr().err
    slash.handle("/xyzzy")
    assert "/help lists" in capsys.readouterr().err
    with pytest.raises(InputError, match="did you mean /memory search"):
        slash.handle("/memory serch dog")


def test_the_verbs_of_the_memory(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    def err(line: str) -> str:
        assert slash.handle(line) is None
        return capsys.readouterr().err

    assert "nothing is remembered yet" in err("/memory")
    assert err("/memory add My dog is called Biscuit.").startswith("added m1-")
    assert "Biscuit" in err("/memory search dog")
    assert "Biscuit" in err("/memory show m1")
    assert "updated m1" in err("/memory update m1 My dog is called Rusk.")
    assert "Rusk" in err("/memory")
    err("/memory update m1")
    assert slash.prefill == "/memory update m1 My dog is called Rusk."
    assert "deleted m1" in err("/memory delete m1")
    assert "restored m1" in err("/memory undo")
    assert "nothing to report" in err("/memory audit")
    with pytest.raises(NotFound):
        slash.handle("/memory delete nope")


def test_why_names_the_turns(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    say(slash, "My dog is called Biscuit.")
    capsys.readouterr()
    assert "Biscuit" in say(slash, "What is my dog called?")
    slash.handle("/new")
    say(slash, "What is my dog called?")
    slash.handle("/why")
    assert "m1-" in capsys.readouterr().err
    slash.handle("/tokens")
    slash.handle("/usage")
    slash.handle("/debug")
    said = capsys.readouterr().err
    assert "recalled view" in said
    assert "3 calls" in said
    assert "user: My dog is called Biscuit." in said
    assert "first_token" in said


def test_retry_forgets_the_turn_before(slash: Slash) -> None:
    say(slash, "My dog is called Biscuit.")
    say(slash, "What is my dog called?")
    say(slash, "/retry")
    assert texts(slash) == ["My dog is called Biscuit.", "Noted.", "What is my dog called?", "My dog is called Biscuit."]


def test_retry_after_a_failure_asks_once(slash: Slash) -> None:
    Path("replies.jsonl").write_text('{"match": "never asked", "text": "x"}\n')
    slash.handle("/model scripted:replies.jsonl")
    with pytest.raises(ModelError):
        say(slash, "What is my dog called?")
    slash.handle("/model fake")
    say(slash, "/retry")
    assert texts(slash) == ["What is my dog called?", "I do not know."]


def test_edit_takes_the_place_of_the_last_question(slash: Slash) -> None:
    say(slash, "My dog is called Biscu")
    assert slash.handle("/edit") is None
    assert slash.prefill == "My dog is called Biscu"
    say(slash, "My dog is called Biscuit.")
    assert texts(slash) == ["My dog is called Biscuit.", "Noted."]
    say(slash, "/edit My dog is called Rusk.")
    assert texts(slash) == ["My dog is called Rusk.", "Noted."]
    slash.handle("/edit")
    slash.handle("/help")
    say(slash, "Something else.")
    assert len(texts(slash)) == 4


def test_model_and_budget(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    slash.handle("/budget 99")
    slash.handle("/model garbage")
    assert capsys.readouterr().err.endswith("model garbage, budget 99 tokens\n")
    for line, error in (("/budget x", InputError), ("/budget 0", BudgetError), ("/model fak", UnknownName)):
        with pytest.raises(error):
            slash.handle(line)
    assert slash.chat.agent.model.name == "garbage"
    assert slash.chat.agent.budget.tokens == 99


def test_new_sessions_have_valid_names(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    say(slash, "My dog is called Biscuit.")
    before = slash.chat.session
    slash.handle("/new")
    assert slash.chat.session != before
    slash.handle("/new trip")
    say(slash, "I fly to Oslo.")
    capsys.readouterr()
    slash.handle("/sessions")
    listed = capsys.readouterr().err
    assert "* trip" in listed
    assert f"  {before}" in listed
    with pytest.raises(InputError, match="printable"):
        slash.handle("/new a\tb")
    assert slash.chat.session == "trip"


def test_save_and_export_replace_nothing_of_the_users(slash: Slash, tmp_path: Path) -> None:
    say(slash, "My dog is called Biscuit.")
    slash.handle("/save talk.txt")
    slash.handle("/export all.jsonl")
    saved = tmp_path / "talk.txt"
    assert saved.read_text() == "user: My dog is called Biscuit.\n\nassistant: Noted.\n"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    for line in ("/save talk.txt", "/export all.jsonl"):
        with pytest.raises(InputError, match="exists"):
            slash.handle(line)
    with pytest.raises(InputError, match="no folder"):
        slash.handle("/save talk.txt/deeper")


@pytest.mark.parametrize("path", ["~nobody-here/x", "a\0b", "\ud800"])
@pytest.mark.parametrize("command", ["/save", "/export"])
def test_a_path_that_cannot_be_is_refused(slash: Slash, command: str, path: str) -> None:
    say(slash, "My dog is called Biscuit.")
    with pytest.raises(InputError, match=r"no folder ~nobody-here|path of a file is needed"):
        slash.handle(f"{command} {path}")


@pytest.mark.parametrize("line", ["/save", "/save s.txt", "/export", "/export s.txt"])
def test_save_and_export_follow_no_link_and_replace_nothing_by_default(slash: Slash, tmp_path: Path, line: str) -> None:
    say(slash, "My dog is called Biscuit.")
    target = tmp_path / "target.conf"
    target.write_text("precious")
    dangling = tmp_path / "elsewhere.conf"
    for place in (target, dangling):
        for name in ("s.txt", "memory.jsonl"):
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / name).symlink_to(place)
        with pytest.raises(InputError, match="exists and is not replaced"):
            slash.handle(line)
    (tmp_path / "s.txt").unlink()
    (tmp_path / "s.txt").write_text("mine")
    (tmp_path / "memory.jsonl").unlink()
    (tmp_path / "memory.jsonl").write_text("mine")
    with pytest.raises(InputError, match="exists and is not replaced"):
        slash.handle(line)
    assert (target.read_text(), dangling.exists(), (tmp_path / "s.txt").read_text()) == ("precious", False, "mine")


def test_quit_is_in_the_help(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    slash.handle("/help")
    assert "/quit" in capsys.readouterr().err
    slash.handle("/quit")
    assert slash.done


def test_image_shows_where_the_picture_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path, memory="memocr") as found:
        slash = Slash(found)
        with pytest.raises(InputError, match="no answer yet"):
            slash.handle("/image")
        say(slash, "My dog is called Biscuit.")
        with pytest.raises(InputError, match="as text"):
            slash.handle("/image")
        slash.handle("/new")
        say(slash, "What is my dog called?")
        capsys.readouterr()
        slash.handle("/image")
        path = Path(capsys.readouterr().err.split(" (")[0])
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.is_relative_to(tmp_path / "store")
        slash.handle("/image save page.png")
        assert (tmp_path / "page.png").read_bytes() == path.read_bytes()
        with pytest.raises(InputError, match="exists"):
            slash.handle("/image save page.png")
        with pytest.raises(InputError, match="/image save PATH"):
            slash.handle("/image page.png")


def test_without_memory_and_read_only(tmp_path: Path) -> None:
    with opened(tmp_path, ChatOptions(no_memory=True)) as found:
        slash = Slash(found)
        say(slash, "My dog is called Biscuit.")
        assert "Biscuit" in say(slash, "What is my dog called?")  # seen verbatim, stored nowhere
        assert say(slash, "/retry")
        for line in ("/memory", "/sessions", "/export x.jsonl", "/save x.txt"):
            with pytest.raises(InputError, match="has no memory"):
                slash.handle(line)
    assert not (tmp_path / "store").exists()
    with opened(tmp_path) as found:
        say(Slash(found), "My dog is called Biscuit.")
    with opened(tmp_path, ChatOptions(read_only=True)) as found:
        slash = Slash(found)
        assert "Biscuit" in say(slash, "What is my dog called?")
        assert found.session is None
        with pytest.raises(StoreError, match="read-only"):
            slash.handle("/memory add x")
        assert len(texts(slash)) == 2


def test_several_lines_show_another_prompt(slash: Slash) -> None:
    assert slash.prompt == "> "
    slash.handle("/multi")
    assert slash.prompt == ". "
    assert slash.handle("one\n/end") == "one"
