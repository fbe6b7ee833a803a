"""What lies in the folder of a run, looked at before anything in it is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from memagent.errors import ConfigError
from memagent_training.recipe import Recipe
from memagent_training.runs.checkpoints import checkpoints, is_whole

SHARDS = "pytorch_model_fsdp_0"
"""Where accelerate puts the shards of the policy."""
FULL, INDEX, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclass(frozen=True)
class SavedWeights:
    """A folder with the weights of a policy, and their form."""

    folder: Path
    form: Literal["full", "adapter", "shards"]

    @property
    def step(self) -> int | None:
        """Of the checkpoint; None: those at the end of the run."""
        number = self.folder.name.removeprefix("checkpoint-")
        return int(number) if number.isdecimal() else None


@dataclass(frozen=True)
class RunFolder:
    """A run by its folder and the recipe that it was made by."""

    path: Path
    recipe: Recipe

    def weights(self, step: int | None = None) -> SavedWeights:
        """Those of the checkpoint of `step`; None: of `final`, or of the newest whole checkpoint where a sharded run has none.

        Raises `ConfigError` when they are not there, not whole, or in a form that is not read.
        """
        if step is None and (final := self.path / "final").is_dir():
            return _weights(final)
        there = [folder for folder in checkpoints(self.path) if is_whole(folder)]
        for folder in there:
            if step is None or folder.name == f"checkpoint-{step}":
                return _weights(folder)
        known = ", ".join(folder.name.removeprefix("checkpoint-") for folder in there) or "none"
        what = "neither `final` nor a whole checkpoint" if step is None else f"no whole checkpoint of step {step}"
        raise ConfigError(f"`{self.path}` has {what}; steps of whole checkpoints: {known}")


def open_run(path: Path) -> RunFolder:
    """The run in a folder. Raises `ConfigError` when it is none, or its recipe is not one of this version."""
    facts = read_json(path / "recipe.json")
    try:
        return RunFolder(path, Recipe.model_validate(facts["recipe"]))
    except (ValidationError, KeyError) as error:
        raise ConfigError(f"`{path / 'recipe.json'}` holds no recipe of this version: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `ConfigError` for a file that is not there or holds something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no `{path}`; give the folder of a run of `memagent-train run`") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"`{path}` is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"`{path}` holds a {type(found).__name__}, not an object")
    return found


def inside(folder: Path, name: object) -> Path:
    """The file `name` of an index in `folder`. Raises `ConfigError` for a name that leads elsewhere, or to nothing."""
    if not isinstance(name, str) or not name or name != Path(name).name or not (folder / name).is_file():
        raise ConfigError(f"an index in `{folder}` names the file {name!r}; it must be a file of that folder")
    return folder / name


def _weights(folder: Path) -> SavedWeights:
    if (folder / ADAPTER).exists():
        return SavedWeights(_sound(folder, [ADAPTER]), "adapter")
    if (folder / SHARDS / ".metadata").exists():
        return SavedWeights(folder, "shards")
    if (folder / INDEX).exists():
        files = read_json(folder / INDEX).get("weight_map")
        if not isinstance(files, dict) or not files:
            raise ConfigError(f"`{folder / INDEX}` maps no weights to files")
        return SavedWeights(_sound(folder, sorted({inside(folder, name).name for name in files.values()})), "full")
    if (folder / FULL).exists():
        return SavedWeights(_sound(folder, [FULL]), "full")
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    why = f"; {', '.join(pickled)}: pickled files could run code, and are not read" if pickled else ""
    raise ConfigError(f"`{folder}` has no weights as safetensors ({FULL}, {ADAPTER}) and no shards (`{SHARDS}`){why}")


def _sound(folder: Path, files: list[str]) -> Path:
    """The folder, when these files are whole safetensors."""
    from safetensors import SafetensorError, safe_open

    for name in files:
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"`{folder / name}` is damaged: {error}; take another checkpoint with --step") from error
    return folder
