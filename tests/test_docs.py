"""The docs are true: snippets print what the page shows, links lead somewhere, commands parse, generated parts are fresh."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from memagent import Agent
from memagent_training.cli import arguments

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ("cli.md", "python.md", "architecture.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _written(page: Path) -> bool:
    return page.name not in GENERATED


SNIPPETS = [
    page for page in PAGES if _written(page) and page.parent.name != "training" and "```python\n" in page.read_text("utf-8")
]
"""Pages with code to run; those of docs/training run in tests/training."""


@pytest.mark.parametrize("page", SNIPPETS, ids=_name)
def test_snippets_run_and_print_what_the_page_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fences = FENCE.findall(page.read_text("utf-8"))
    space: dict[str, Any] = {"__name__": "__main__"}
    for place, (language, code) in enumerate(fences):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{_name(page)}, block {place}", "exec", dont_inherit=True), space)
        shown = fences[place + 1] if place + 1 < len(fences) else ("", "")
        assert printed.getvalue() == (shown[1] if shown[0] == "text" else ""), f"{_name(page)}, block {place}"
    if isinstance(agent := space.get("agent"), Agent):
        agent.close()  # a page leaves it to the end of the program


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if _written(page)], ids=_name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text("utf-8")):
        if language not in ("", "console", "sh"):
            continue
        for line in code.replace("\\\n", " ").splitlines():
            command = line.partition("  #")[0]
            if found := re.search(r"(?:^|[ /])memagent ((?!&&).*)$", command):
                if not line.startswith(("git", "cd", "pip", ">")):
                    _check(shlex.split(found[1]), line)
            elif command.startswith("memagent-train "):
                arguments().parse_args(shlex.split(command)[1:])


def _check(words: list[str], line: str) -> None:
    from memagent.cli.main import build

    command: Any = typer.main.get_command(build(words))
    while hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, line
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert given <= known | {"--help"}, line


@pytest.mark.slow
def test_generated_pages_are_up_to_date() -> None:
    outdated = runpy.run_path(str(ROOT / "docs" / "generate.py"))["outdated"]()
    assert not [_name(path) for path in outdated], "run `make docs`"


def test_the_map_lists_every_package_and_floor() -> None:
    drawing = FENCE.findall((ROOT / "docs" / "architecture.md").read_text("utf-8"))[0][1]
    for folder in ("memagent", "renderers/memagent_renderers", "training/memagent_training"):
        for path in (ROOT / folder).iterdir():
            if folder == "memagent" and path.is_dir() and (path / "__init__.py").exists():
                assert re.search(rf"\b{path.name}\b", drawing), path.name


def test_lines_are_short_enough_to_read_in_an_editor() -> None:
    long = [
        f"{_name(page)}:{number}"
        for page in PAGES
        if _written(page)
        for number, line in enumerate(
            FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), page.read_text("utf-8")).splitlines(), 1
        )
        if len(line) > 120 and not line.lstrip().startswith(("|", "!["))
    ]
    assert not long
