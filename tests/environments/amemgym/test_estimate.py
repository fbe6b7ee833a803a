"""What users by a model will cost, before any is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.ideal_writer import SMALL, GoodWriter, written

from memagent.environments.amemgym.estimate import estimate_generation, generation_calls
from memagent.environments.amemgym.generate import generate_user, preset


@pytest.mark.parametrize("name", ["v1.base", "v1.extra"])
def test_an_estimate_counts_the_calls_of_its_stand_ins(name: str) -> None:
    used = preset(name)
    assert estimate_generation(2, settings=used).calls == sum(
        generation_calls(generate_user(index, settings=used)) for index in range(2)
    )
    assert estimate_generation(0, settings=used).calls == 0


def test_an_estimate_of_many_users_is_that_of_twenty_scaled() -> None:
    assert estimate_generation(40, settings=SMALL).tokens_in == pytest.approx(
        2 * estimate_generation(20, settings=SMALL).tokens_in, rel=1e-6
    )


def test_an_estimate_is_near_what_a_run_reads(tmp_path: Path) -> None:
    used = preset("v1.base")
    usage = written(GoodWriter(used), tmp_path, settings=used, n=2).usage
    assert estimate_generation(2, settings=used).tokens_in == pytest.approx(usage.text_in, rel=0.25)
