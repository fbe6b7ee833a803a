"""The chat on a terminal, key by key: line editing, Ctrl-C, Ctrl-D, history, and what goes to stdout."""

from __future__ import annotations

import re
import signal
import stat
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from ptys import Terminal

from memagent import Store
from memagent.cli.chat import loop
from memagent.types import Message

Start = Callable[..., Terminal]
CTRL_C, UP, ALT_ENTER = "\x03", "\x1b[A", "\x1b\r"


def _messages(folder: Path) -> list[Message]:
    with Store(folder / "store", embedder=None, read_only=True) as store:
        return store.memory("long_context").messages()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_only_answers_are_on_stdout_and_ctrl_d_leaves(terminal: Start, term: str) -> None:
    chat = terminal(term=term)
    chat.line("My dog is called Biscuit.")
    chat.expect(out="Noted.\n")
    chat.line("/why")
    chat.expect(screen="nothing was recalled")
    chat.line("/memry")
    chat.expect(screen="did you mean /memory?")
    chat.line("What is my dog called?")
    chat.expect(out="My dog is called Biscuit.\n")
    chat.leave()
    assert chat.out == "Noted.\nMy dog is called Biscuit.\n"


def test_ctrl_c_stores_the_answer_so_far_and_a_second_one_leaves(terminal: Start, tmp_path: Path) -> None:
    chat = terminal(model="slow")
    chat.line("hi")
    chat.expect(out="three four")
    chat.type(CTRL_C)
    chat.expect(screen="(interrupted; the answer so far is stored)")
    chat.type(CTRL_C)
    assert chat.end() == 130
    said, partial = _messages(tmp_path)
    assert said.text == "hi"
    assert chat.out == f"{partial.text}\n"
    assert partial.text.startswith("one two three four")
    with Store(tmp_path / "store", embedder=None) as store:
        assert [item.origin for item in store.memory("long_context").items()] == ["said", "partial"]


def test_ctrl_c_at_the_prompt_once_stays_twice_leaves(terminal: Start) -> None:
    chat = terminal()
    chat.ready()
    chat.type("half a li" + CTRL_C)
    chat.expect(screen="(Ctrl-C again to exit)")
    chat.ready()
    chat.type(CTRL_C)
    assert chat.end() == 130
    assert chat.out == ""


def test_ctrl_c_in_a_callback_whose_exceptions_python_ignores_counts_before_the_next_entry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Referred:
        """Something that a weak reference can be to."""

    stops, referred = loop._Stops(), Referred()
    with stops.listening():
        reference = weakref.ref(referred, lambda _: signal.raise_signal(signal.SIGINT))
        del referred
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            stops.raise_lost()
        stops.count()
        stops.raise_lost()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit):
            stops.count()
    assert capsys.readouterr().err == ""


def test_a_chat_that_remembers_nothing_keeps_no_history(terminal: Start, tmp_path: Path) -> None:
    chat = terminal("--no-memory")
    chat.line("a secret")
    chat.expect(out="Noted.\n")
    chat.line("/memory")
    chat.expect(screen="this chat has no memory")
    chat.leave()
    assert not (tmp_path / "store").exists()


def test_lines_are_joined_by_alt_enter_by_pasting_and_by_multi(terminal: Start, tmp_path: Path) -> None:
    chat = terminal()
    chat.line(f"one{ALT_ENTER}two")
    chat.expect(out="Noted.\n", times=1)
    chat.line("\x1b[200~three\nfour\x1b[201~")
    chat.expect(out="Noted.\n", times=2)
    for line in ("/multi", "five", "/not a command", "/end"):
        chat.line(line)
    chat.expect(out="Noted.\n", times=3)
    chat.leave()
    said = [message.text for message in _messages(tmp_path) if message.role == "user"]
    assert said == ["one\ntwo", "three\nfour", "five\n/not a command"]


@pytest.mark.parametrize("flags", [(), ("--no-color",)], ids=" ".join)
def test_tab_completes_ids_in_colour_or_without(terminal: Start, flags: tuple[str, ...]) -> None:
    chat = terminal(*flags)
    chat.line("My dog is called Biscuit.")
    chat.expect(out="Noted.\n")
    chat.ready()
    chat.type("/memory delete \t")
    chat.expect(screen="Noted.")  # next to its id: answers are not on the screen
    chat.type("m1\r")
    chat.expect(screen="deleted m1")
    chat.leave()
    coloured = re.search(r"\x1b\[[\d;]*38;", chat.screen)
    assert (coloured is None) is bool(flags)


@pytest.mark.parametrize("there", ["history", "a file of it"])
def test_typed_lines_that_cannot_be_kept_cost_a_warning(terminal: Start, tmp_path: Path, there: str) -> None:
    with Store(tmp_path / "store", embedder=None) as store:
        file = store.backend.history_file("default")
    if there == "history":
        file.parent.write_text("")
    else:
        file.mkdir(parents=True)
    chat = terminal()
    chat.expect(screen="typed lines are not kept: cannot write")
    chat.line("My cat is called Moss.")
    chat.expect(out="Noted.\n")
    chat.leave()


@pytest.mark.slow
def test_typed_lines_and_sessions_are_there_in_the_next_run(terminal: Start, tmp_path: Path) -> None:
    first = terminal()
    first.line("My cat is called Moss.")
    first.expect(out="Noted.\n")
    first.leave()
    (file,) = (tmp_path / "store" / "history").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = terminal("-c")
    second.expect(screen="(2 messages of this session so far)")
    second.line(UP)
    second.expect(out="Noted.\n")
    second.line("exit")
    assert second.end() == 0
    assert [message.text for message in _messages(tmp_path)][2] == "My cat is called Moss."
