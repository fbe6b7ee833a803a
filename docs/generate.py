"""Write the generated parts of the docs; with `--check`, only say whether they are up to date.

docs/reference/cli.md      the help text of every command
docs/reference/python.md   signature and docstring of every public name
docs/architecture.md       the table of rooms, between the two markers

    python docs/generate.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import typer
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGES = {"memagent": "memagent", "memagent_renderers": "renderers", "memagent_training": "training"}
PUBLIC = ("memagent", "memagent_renderers", "memagent_training.grpo", "memagent_training.objectives")
"""Packages whose `__all__` is public."""
TABLES = {
    "Memories": ("memagent.memory", "BUILT_IN"),
    "Layout engines": ("memagent_renderers.engines", "ENGINES"),
    "Training tasks": ("memagent_training.tasks", "TASKS"),
    "Rollout engines": ("memagent_training.engines", "ENGINES"),
}
"""Registries, whose classes are public by their names: heading -> module, table."""
WIDTH, MAX_DEFAULT = 100, 40
"""Characters of a signature on one line, and of a default value that is shown."""
BEGIN, END = "<!-- generated: rooms -->", "<!-- end -->"


# -- reference/cli.md -------------------------------------------------------------------------------------------------


def cli_reference() -> str:
    """The help of the program, of each group, and of each command."""
    parts = [
        "# Command line reference\n\nGenerated from `--help` by `make docs`; "
        "[the guide](../guides/command-line.md) explains settings, JSON output and keys.\n"
    ]
    for words in _commands():
        parts.append(f"## memagent {' '.join(words)}".rstrip() + f"\n\n```text\n{_help(words)}\n```\n")
    return "\n".join([*parts, *_train_reference()])


def _train_reference() -> Iterator[str]:
    from memagent_training.cli import arguments

    parser = arguments()
    yield f"## memagent-train\n\n```text\n{_plain(parser)}\n```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from (f"## memagent-train {name}\n\n```text\n{_plain(one)}\n```\n" for name, one in action.choices.items())


def _plain(parser: argparse.ArgumentParser) -> str:
    with patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"):
        return "\n".join(line.rstrip() for line in parser.format_help().strip().splitlines())


def _commands() -> Iterator[list[str]]:
    from memagent.cli.main import COMMANDS, GROUPS

    yield []
    yield from ([name] for name in COMMANDS)
    for group in GROUPS:
        yield [group]
        app: typer.Typer = import_module(f"memagent.cli.{group}").app
        for command in app.registered_commands:
            name = command.name or command.callback.__name__.replace("_", "-")  # type: ignore[union-attr]
            yield [group, name]


def _help(words: list[str]) -> str:
    from memagent.cli.main import build

    arguments = [*words, "--help"]
    environment = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    done = CliRunner().invoke(build(arguments), arguments, env=environment, prog_name="memagent", catch_exceptions=False)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


# -- reference/python.md ----------------------------------------------------------------------------------------------


def python_reference() -> str:
    """Every public name: signature, docstring, and the documented members of classes."""
    parts = ["# Python reference\n\nGenerated from docstrings by `make docs`.\n"]
    for name in PUBLIC:
        module = import_module(name)
        parts.append(f"## `{name}`\n\n{_doc(module)}\n")
        parts += [_entry(public, getattr(module, public)) for public in sorted(module.__all__, key=str.lower)]
    for title, (module_name, table) in TABLES.items():
        parts.append(f"## {title}\n\nBy name, from `{module_name}.{table}`.\n")
        parts += [
            _entry(f"{cls.__module__}.{cls.__qualname__}", cls, f"`{key}`. ") for key, cls in registered(module_name, table)
        ]
    return "\n".join(parts)


def registered(module_name: str, table: str) -> list[tuple[str, type]]:
    """The classes of a registry with their names. A registry may hold classes or "module:Class"."""
    found = []
    for key, value in getattr(import_module(module_name), table).items():
        home, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
        found.append((key, getattr(import_module(home), name) if home else value))
    return found


def _entry(title: str, value: object, prefix: str = "") -> str:
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return f"### {title}\n\nA `{type(value).__name__}`.\n"
    lines = [f"### {title}", "", f"```python\n{_signature(title.rpartition('.')[2], value)}\n```", "", prefix + _doc(value), ""]
    if inspect.isclass(value):
        fields = _field_docs(value)
        lines += [*(f"- `{name}`: {doc}" for name, doc in fields.items()), ""] if fields else []
        for name, member in vars(value).items():
            text = None if name.startswith("_") else _member(name, member)
            if text:
                lines += [text, ""]
    return "\n".join(lines)


def _field_docs(cls: type) -> dict[str, str]:
    """Fields with the string that stands below them in the source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, below in pairwise(body):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
            found[field.target.id] = " ".join(text.split())
    return {name: doc for name, doc in found.items() if not name.startswith("_")}


def _member(name: str, member: object) -> str | None:
    """A method or property with its docstring; None for one without."""
    if isinstance(member, property):
        return f"- `{name}`: {' '.join(member.__doc__.split())}" if member.__doc__ else None
    function = getattr(member, "__func__", member)
    if not inspect.isfunction(function) or not function.__doc__:
        return None
    text = "\n".join(f"  {line}".rstrip() for line in inspect.cleandoc(function.__doc__).splitlines())
    signature = _signature(name, function)
    if "\n" not in signature:
        return f"- `{signature}`\n\n{text}"
    code = "\n".join(f"  {line}" for line in signature.splitlines())
    return f"-\n  ```python\n{code}\n  ```\n\n{text}"


def _signature(name: str, value: object) -> str:
    """Name and parameters without `self`; one parameter a line where they are long."""
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return name
    parts, star = [], False
    for one in signature.parameters.values():
        if one.name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and not star:
            parts.append("*")
        star |= one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        parts.append(_parameter(one))
    returned = signature.return_annotation
    end = (
        "" if returned in (inspect.Signature.empty, None, "None") or inspect.isclass(value) else f" -> {_annotation(returned)}"
    )
    line = f"{name}({', '.join(parts)}){end}"
    return line if len(line) <= WIDTH else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){end}"


def _parameter(one: inspect.Parameter) -> str:
    stars = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
    text = stars + one.name
    if one.annotation is not one.empty:
        text += f": {_annotation(one.annotation)}"
    if one.default is not one.empty:
        default = repr(one.default)
        text += f" = {default if len(default) <= MAX_DEFAULT and '<' not in default else '...'}"
    return text


def _annotation(value: object) -> str:
    text = inspect.formatannotation(value).strip("'")
    text = re.sub(r"Annotated\[(.*?), FieldInfo\(.*?\)\]", r"\1", text)
    return re.sub(r"\b(?:memagent\w*|collections|typing|pathlib)(?:\.\w+)*\.(?=\w)", "", text)


def _doc(value: object) -> str:
    """The docstring, indented examples as code blocks."""
    lines, code = [], False
    for line in [*(inspect.getdoc(value) or "").splitlines(), ""]:
        if line.startswith("    ") != code and (line or not code):
            code = not code
            lines.append("```python" if code else "```\n")
        lines.append(line[4:] if code else line)
    if code:
        lines.append("```")
    return "\n".join(lines).replace("\n\n```\n", "\n```\n").strip()


# -- architecture.md --------------------------------------------------------------------------------------------------


def rooms() -> list[tuple[str, str, int, int]]:
    """(room, first sentence of its docstring, modules, lines) of every folder and module of the packages."""
    found = []
    for package, folder in PACKAGES.items():
        base = ROOT / ("" if folder == package else folder) / package
        for path in sorted(base.iterdir(), key=lambda path: (path.is_file(), path.name)):
            if path.is_dir() and (path / "__init__.py").exists():
                files = list(path.rglob("*.py"))
                source = path / "__init__.py"
            elif path.suffix == ".py" and path.stem != "__init__":
                files, source = [path], path
            else:
                continue
            text = source.read_text("utf-8")
            lines = sum(len(file.read_text("utf-8").splitlines()) for file in files)
            found.append((f"{package}.{path.stem}", _first_sentence(ast.get_docstring(ast.parse(text))), len(files), lines))
    return found


def _first_sentence(doc: str | None) -> str:
    text = " ".join((doc or "").partition("\n\n")[0].split())
    return re.split(r"(?<=[^.][.!])\s", text, maxsplit=1)[0].replace("|", "\\|")


def architecture_block() -> str:
    """The table of rooms, with the totals of each package."""
    lines = ["| room | what it holds | modules | lines |", "| --- | --- | --- | --- |"]
    found = rooms()
    for package in PACKAGES:
        own = [room for room in found if room[0].startswith(f"{package}.")]
        lines.append(f"| **{package}** | | {sum(room[2] for room in own)} | {sum(room[3] for room in own):,} |")
        lines += [f"| `{name.partition('.')[2]}` | {what} | {modules} | {size:,} |" for name, what, modules, size in own]
    return "\n".join(lines)


def with_rooms(page: str) -> str:
    """The page with a new table between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{architecture_block()}\n{END}{after}"


# -- all of them ------------------------------------------------------------------------------------------------------


def outdated() -> dict[Path, str]:
    """Generated files that differ from what stands in them, with their new text. Sizes in the table of rooms may differ."""
    page = DOCS / "architecture.md"
    new = {
        DOCS / "reference" / "cli.md": cli_reference(),
        DOCS / "reference" / "python.md": python_reference(),
        page: with_rooms(page.read_text("utf-8")),
    }
    return {path: text for path, text in new.items() if not path.exists() or _same(path.read_text("utf-8")) != _same(text)}


def _same(text: str) -> str:
    """The text without the sizes, which every commit changes."""
    return re.sub(r"\| [\d,]+ \| [\d,]+ \|$", "| |", text, flags=re.MULTILINE)


def main() -> None:
    os.chdir(ROOT)
    found = outdated()
    if "--check" in sys.argv[1:]:
        names = ", ".join(str(path.relative_to(ROOT)) for path in found)
        sys.exit(f"out of date: {names}; run `make docs`" if found else 0)
    page = DOCS / "architecture.md"
    for path, text in {**found, page: with_rooms(page.read_text("utf-8"))}.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
