"""The floors of the house: imports point down, none runs in a circle, and the light parts load nothing heavy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("renderers/memagent_renderers", "memagent", "training/memagent_training")
FLOORS = (
    "types errors messages forks",
    "db text",
    "retrieval models",
    "memory",
    "store agent aio config prompts grounding",
    "evaluation",
    "environments serving inspector adapters importers testing",
    "cli __main__",
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names.split()}


def _modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        folder = REPOSITORY / package
        for path in folder.rglob("*.py"):
            name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = _modules()


@cache
def _named(path: Path) -> tuple[tuple[str, bool], ...]:
    """All that a file imports, by `TYPE_CHECKING` too, and whether a function does it."""
    found: list[tuple[str, bool]] = []
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text("utf-8")), False)]
    while waiting:
        node, lazy = waiting.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(name, lazy) for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))]
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        waiting += [(child, lazy) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]
    return tuple(found)


def _imports(path: Path, *, lazy: bool) -> Iterator[str]:
    """Our modules that a file imports; with `lazy`, those inside functions as well."""
    return (name for name, inside in _named(path) if name in MODULES and (lazy or not inside))


def _height(name: str) -> tuple[int, int]:
    """Package first, floor within `memagent` second."""
    top, _, rest = name.partition(".")
    package = ("memagent_renderers", "memagent", "memagent_training").index(top)
    return package, LEVEL.get(rest.partition(".")[0], -1) if top == "memagent" and rest else -1


def test_every_room_of_memagent_has_a_floor() -> None:
    rooms = {name.split(".")[1] for name in MODULES if name.startswith("memagent.")}
    assert rooms <= set(LEVEL)


def test_no_module_imports_from_a_higher_floor() -> None:
    upward = [
        f"{name} -> {other}"
        for name, path in MODULES.items()
        if name != "memagent"  # the front door finds its names on first use
        for other in _imports(path, lazy=True)
        if _height(other) > _height(name)
    ]
    assert not upward, "\n".join(upward)


def test_no_imports_run_in_a_circle() -> None:
    graph = {
        name: {other for other in _imports(path, lazy=False) if other != name and not name.startswith(f"{other}.")}
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_two_public_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("old", ["renderers", "training"])
def test_nothing_in_the_packages_imports_a_folder_of_the_checkout(old: str) -> None:
    assert not [str(path) for path in MODULES.values() if any(name.split(".")[0] == old for name, _ in _named(path))]


def _loaded(statement: str, *heavy: str) -> str:
    script = f"import sys; {statement}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_memagent_loads_nothing_heavy() -> None:
    assert _loaded("import memagent; memagent.Store", "torch", "openai", "numpy.linalg.tests", "faiss", "transformers") == "[]"


OTHERS = ("vllm", "ray", "verl", "verifiers", "openenv")
"""Engines, trainers and clusters of other people, which only those load who ask for them."""
DOORS = {f"memagent_training.adapters.{name}" for name in OTHERS}


def test_no_module_but_the_door_to_it_imports_another_trainer_or_engine() -> None:
    found = [
        f"{name} -> {other}"
        for name, path in MODULES.items()
        for other, inside in _named(path)
        if other.split(".")[0] in OTHERS and not inside and name not in DOORS
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "module",
    ["memagent.cli.main", "memagent.cli.bench", "memagent.evaluation.ray_tasks", "memagent_training.adapters.episodes"],
)
def test_importing_what_uses_them_loads_none_of_them(module: str) -> None:
    assert _loaded(f"import {module}", *OTHERS) == "[]"


def test_the_pure_core_knows_no_trainer_and_loads_no_torch() -> None:
    for path in (REPOSITORY / PACKAGES[2] / "grpo").rglob("*.py"):
        tops = {name.split(".")[0] for name, _ in _named(path)}
        assert not tops & {"trl", "transformers", "accelerate", "datasets", "peft"}, path
    statement = "import memagent_training.grpo as grpo; grpo.build_verification_items"
    assert _loaded(statement, "torch", "trl", "transformers", "openai") == "[]"


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_their_data_and_no_script(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"memagent/py.typed", "memagent_renderers/py.typed", "memagent_training/py.typed"} <= names
    assert {"memagent_training/recipes/demo.toml", "memagent_training/configs/fsdp2.yaml"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "memagent",
        "memagent_renderers",
        "memagent_training",
    }


@pytest.mark.slow
@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_a_strangers_renderers_and_a_folder_called_training_harm_nothing(tmp_path: Path, first: str) -> None:
    """Installed before or after ours, run from a folder with a package `training`, and uninstalled again."""
    theirs, work, environment = tmp_path / "theirs", tmp_path / "work", tmp_path / "environment"
    (theirs / "renderers").mkdir(parents=True)
    (theirs / "renderers" / "__init__.py").write_text("whose = 'theirs'\n", "utf-8")
    (theirs / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "renderers"\nversion = "0.1.12"\n[tool.hatch.build.targets.wheel]\npackages = ["renderers"]\n',
        "utf-8",
    )
    (work / "training").mkdir(parents=True)
    (work / "training" / "__init__.py").write_text("whose = 'of the working directory'\n", "utf-8")
    wheels = {}
    for name, source in (("theirs", theirs), ("ours", REPOSITORY)):
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / name), str(source)]
        subprocess.run(build, check=True, capture_output=True)
        [wheels[name]] = (tmp_path / name).glob("*.whl")

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    [site] = environment.glob("lib/python*/site-packages")
    python = str(environment / "bin" / "python")
    libraries = sysconfig.get_path(
        "purelib"
    )  # the dependencies are those of this environment; our editable install is not seen
    (site / "dependencies.pth").write_text(f"{libraries}\n", "utf-8")  # a path file within it is not read

    def pip(*arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", python, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=work)

    def prints(code: str) -> str:
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run([python, "-c", code], cwd=work, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    for name in (first, *({"theirs", "ours"} - {first})):
        pip("install", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheels[name]))
    assert prints("import renderers, training; print(renderers.whose, training.whose)") == "theirs of the working directory"
    ours = "import memagent, memagent_renderers, memagent_training as t; print(t.__file__)"
    assert prints(ours).startswith(str(site))
    trains = "from memagent_training.cli import main; main(['recipes']); main(['config', 'fsdp2'])"
    listed = prints(trains)
    assert "coba " in listed
    assert listed.endswith(str(Path("memagent_training", "configs", "fsdp2.yaml")))
    assert (environment / "bin" / "memagent-train").exists()

    pip("uninstall", "--yes", "renderers")
    assert not (site / "renderers").exists()
    assert prints(trains) == listed
    fits = "from memagent_renderers import Budget, layout; print(len(layout.fit('a word', Budget(16)).lines))"
    assert prints(fits) == "1"
