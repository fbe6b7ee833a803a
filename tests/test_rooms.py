"""Dependencies point one way, renderers <- memagent <- training, and strangers by these names are told from ours."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BELOW = {"renderers": {"memagent", "training"}, "memagent": {"training"}}


def _imports(path: Path) -> set[str]:
    """The top-level packages that a file imports by name, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in plain | named}


@pytest.mark.parametrize("room", BELOW)
def test_no_room_imports_from_above(room: str) -> None:
    reaching = {str(path): found for path in (REPOSITORY / room).rglob("*.py") if (found := _imports(path) & BELOW[room])}
    assert not reaching


def test_the_pure_core_knows_no_trainer_and_loads_no_torch() -> None:
    for path in (REPOSITORY / "training" / "grpo").rglob("*.py"):
        assert not _imports(path) & {"trl", "transformers", "accelerate", "datasets", "peft"}, path
    script = (
        "import sys, training.grpo as g; g.build_verification_items; "
        "print([name for name in ('torch', 'trl', 'transformers', 'openai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doctor_tells_our_training_from_another(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").write_text("")
    command = [sys.executable, "-m", "memagent.cli.main", "doctor", "--json"]
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from memagent.cli.main import main; main()"
    for line, state in ((command, "ok"), ([sys.executable, "-c", script, "doctor", "--json"], "problem")):
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        [check] = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "training"]
        assert check["state"] == state, done.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_three_rooms_and_their_data(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"memagent/py.typed", "renderers/py.typed", "training/py.typed"} <= set(names)
    assert "training/recipes/demo.toml" in names
    assert any(name.startswith("training/configs/") for name in names)
