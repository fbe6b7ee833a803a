"""A run by rule as tasks of Ray: one method and one user each, whose conversations come back to the folder of the run."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from memagent.environments.amemgym.answerers import UserResult
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.dialogues import Rounds
from memagent.environments.amemgym.methods import Method
from memagent.environments.amemgym.run import AmemgymSettings, Plan, run_unit
from memagent.evaluation.ray_tasks import in_ray
from memagent.evaluation.runner import Progress

UnitWithFiles = tuple[dict[int, UserResult], dict[str, bytes]]
"""What a unit found, and its files by their place in the folder of the run."""


def run_by_ray(plan: Plan, *, address: str, out: Path | None, progress: Progress) -> list[dict[int, UserResult]]:
    """What each unit of the plan found. Raises as `in_ray` does."""

    def keep(unit: UnitWithFiles) -> None:
        for name, content in unit[1].items() if out is not None else ():
            file = Path(out or ".") / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    settings = replace(plan.settings, embedder=plan.settings.embedder_name)  # "auto" may be another one elsewhere
    work = partial(_run_apart, settings, plan.rounds)
    return [found for found, _ in in_ray("runs", work, plan.units, address=address, keep=keep, progress=progress)]


def _run_apart(settings: AmemgymSettings, rounds: Rounds, unit: tuple[UserItem, Method]) -> UnitWithFiles:
    """A unit on a machine that does not have the folder of the run."""
    with tempfile.TemporaryDirectory() as place:
        found = run_unit(settings, rounds, Path(place), unit)
        files = [file for file in Path(place).rglob("*") if file.is_file()]
        return found, {file.relative_to(place).as_posix(): file.read_bytes() for file in files}
