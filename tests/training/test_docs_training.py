"""Every snippet of docs/training/overview.md runs and prints what the page shows; what the page names exists."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from memagent_training import cli
from memagent_training.grpo import ALLOCATORS, BASELINES, CREDITS, PRIORS
from memagent_training.recipe import FOLDER, load_recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training" / "overview.md").read_text("utf-8")
RECIPES = (ROOT / "docs" / "training" / "recipes.md").read_text("utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_snippets_print_what_the_page_shows() -> None:
    space: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for place, (language, code) in enumerate(FENCES):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"docs/training/overview.md snippet {place}", "exec", dont_inherit=True), space)
        assert FENCES[place + 1][0] == "text", "each snippet is followed by what it prints"
        assert printed.getvalue() == FENCES[place + 1][1]
        ran += 1
    assert ran == PAGE.count("```python") >= 8


def test_the_worked_loss_is_what_the_page_says_by_hand() -> None:
    by_hand = (-1.069 - 1.28 * 1.069 + 0.802 + 0.802 + 3 * 0.802) / 5
    assert f"loss {by_hand:.4f}" in PAGE


@pytest.mark.parametrize("table", [ALLOCATORS, BASELINES, CREDITS], ids=["allocators", "baselines", "credits"])
def test_the_page_names_every_kind_and_every_setting(table: dict[str, type]) -> None:
    for name, cls in table.items():
        lines = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(lines) == 1, name
        for field in fields(cls):
            if (name, field.name) != ("sequential", "force"):
                assert f"`{field.name}`" in lines[0], f"{name}.{field.name}"


def test_the_pages_name_every_recipe_and_prior() -> None:
    for name in [path.stem for path in FOLDER.glob("*.toml")] + list(PRIORS):
        assert f"`{name}`" in PAGE + RECIPES, name


def commands() -> list[list[str]]:
    """Every command of our own on the pages about training: what stands behind `memagent-train` or `-m memagent_training`."""
    found = []
    for page in sorted((ROOT / "docs" / "training").glob("*.md")):
        for line in page.read_text("utf-8").splitlines():
            told = re.search(r"^(?:memagent-train|accelerate launch .* -m memagent_training) (.*)", line)
            if told is not None:
                found.append(shlex.split(told[1], comments=True))
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_of_the_pages_are_taken(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = cli.arguments().parse_args(words)
    monkeypatch.chdir(tmp_path)
    if options.command == "run":
        recipe = load_recipe(options.recipe, overrides=cli.overrides(options))
        recipe.config(tmp_path, world=recipe.expected.gpus if recipe.expected else 8)
    elif options.command not in ("data", "export") and "my.toml" not in words:  # those files and runs are not here
        assert cli.main(words) == 0
