"""The program as a whole: help, light imports, unexpected errors."""

from __future__ import annotations

import io
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from invocations import APPS, COMMANDS, REPOSITORY, checked, program, run

import memagent.cli
from memagent.cli.main import main

HEAVY = {"torch", "faiss", "openai", "xllamacpp", "rapidocr", "playwright", "numpy", "PIL", "prompt_toolkit", "rich"}


def _names() -> list[list[str]]:
    grouped = [
        [group, command.name or (command.callback.__name__ if command.callback else "")]
        for group, app in APPS.items()
        for command in app.registered_commands
    ]
    return [*grouped, *([name] for name in COMMANDS)]


@pytest.mark.parametrize("name", _names(), ids=" ".join)
def test_help_has_an_example_and_json(name: list[str]) -> None:
    shown = run(*name, "--help")
    assert f"memagent {' '.join(name)}" in shown
    assert "--json" in shown


@pytest.mark.parametrize(
    "statement",
    [
        "import sys; sys.argv = ['memagent', '--help']; from memagent.cli.main import main; main()",
        "; ".join(f"import memagent.cli.{one.name}" for one in pkgutil.iter_modules(memagent.cli.__path__)),
    ],
    ids=["help", "modules"],
)
def test_help_and_the_commands_import_nothing_heavy(statement: str) -> None:
    code = f"import atexit, sys; atexit.register(lambda: print({HEAVY} & set(sys.modules))); {statement}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_an_unexpected_error_is_one_line_or_one_object_and_a_traceback_with_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("memagent.cli.chat.once.start_turn", fail)
    monkeypatch.setenv("MEMAGENT_DEBUG", "")  # --debug sets it for the rest of the process
    arguments = ("chat", "-m", "fake", "-p", "hi", "--no-memory")
    plain = program(*arguments)
    assert (plain.code, plain.out, len(plain.err.splitlines())) == (1, "", 1)
    assert "unexpected KeyError" in plain.err
    assert checked(json.loads(program(*arguments, "--json").out))["error"]["code"] == "unexpected"
    debugged = program(*arguments, "--debug")
    assert "unexpected KeyError" in debugged.err
    assert "Traceback" in debugged.err


def test_signs_that_an_output_cannot_show_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    run("memory", "add", "Ma chatte s'appelle Zoë 猫.")
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="latin-1"))
    monkeypatch.setattr(sys, "argv", ["memagent", "memory", "list"])
    with pytest.raises(SystemExit, match="0"):
        main()
    sys.stdout.flush()
    assert "Zoë ?." in printed.getvalue().decode("latin-1")


def test_every_command_and_option_of_0_1_0_is_there_or_in_the_changelog() -> None:
    reference = (REPOSITORY / "docs" / "reference" / "cli.md").read_text("utf-8")
    pages = {page.partition("\n")[0].strip(): page for page in reference.split("\n## memagent ")}
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8").partition("## 0.1.0")[0]
    for line in Path(__file__).with_name("options_of_0_1_0.txt").read_text("utf-8").splitlines():
        command, _, options = line.partition(": ")
        if command not in pages:
            assert f"memagent {command}" in changelog, command
            continue
        for option in options.split():
            if not re.search(rf"{option}(?![\w-])", pages[command]):
                assert re.search(rf"{option}(?![\w-])", changelog), f"memagent {command} {option}"
