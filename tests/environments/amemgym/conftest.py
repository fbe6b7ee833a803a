"""A run by a model that several files look into."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.amemgym_runs import PERIODS, QUESTIONS, USERS, run, settings
from helpers.metered_model import MeteredModel
from helpers.synthetic_users import made_items

from memagent.environments.amemgym.data import UserItem, save_items
from memagent.evaluation.report import Report


@pytest.fixture(scope="session")
def items() -> list[UserItem]:
    return made_items(len(USERS), periods=PERIODS, questions=QUESTIONS)


@pytest.fixture(scope="session")
def data(items: list[UserItem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "data.json"
    save_items(items, file)
    return file


@pytest.fixture(scope="session")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """The folder of a run, and its report."""
    out = tmp_path_factory.mktemp("run") / "out"
    return out, run(settings(data), model=MeteredModel(), user=MeteredModel(name="player"), out=out)
