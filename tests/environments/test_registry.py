"""Environments by name."""

from __future__ import annotations

import pytest

from memagent.environments import ENVIRONMENTS, load_environment
from memagent.errors import UnknownName


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_has_tasks_and_episodes(name: str) -> None:
    found = load_environment(name)
    assert all(callable(getattr(found, verb)) for verb in ("tasks", "reset", "step"))


def test_an_unknown_one_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'long_qa'"):
        load_environment("longqa")
