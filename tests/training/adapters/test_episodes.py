"""Attempts that another program drives: the requests and rewards of a run of ours."""

from __future__ import annotations

import pytest
from helpers.lookup_objective import ROWS, episodes

from memagent.errors import ConfigError, EngineError, InputError, MissingExtra, RenderError
from memagent_training.adapters.episodes import Attempt, Episodes
from memagent_training.objectives.single_turn import SingleTurn
from memagent_training.recipe import load_recipe


def test_an_attempt_asks_turn_by_turn_and_ends_with_its_rewards() -> None:
    attempt = episodes().start(index=1)
    assert attempt.request is not None
    assert (attempt.request.messages[0].text, attempt.role, attempt.request.max_tokens) == (
        "Search for: Who came?",
        "search",
        8,
    )
    attempt.reply("came")
    assert (attempt.role, attempt.turns, attempt.reward) == ("answer", 1, 0.0)
    attempt.reply("Ada", cut=True)
    assert attempt.request is None
    assert attempt.result is not None
    assert attempt.result.rewards == {"look": 0.5, "answer": 1.0}
    assert (attempt.reward, attempt.result.valid, attempt.failed) == (1.0, False, None)
    with pytest.raises(InputError, match="has ended"):
        attempt.reply("again")


def test_errors_mean_what_they_mean_in_a_run_of_ours() -> None:
    content = episodes(raises=RenderError("cannot be drawn")).start()
    content.reply("Rex")
    assert content.failed is None
    assert content.result is not None
    assert content.result.rewards == {"look": 0.0, "answer": 0.0}
    world = episodes(raises=EngineError("gone", retryable=True)).start()
    world.reply("Rex")
    assert world.failed == "engine: gone"
    with pytest.raises(MissingExtra):
        episodes(raises=MissingExtra("the browser", "pip install x")).start().reply("Rex")
    unanswered = episodes().start()
    unanswered.fail(EngineError("no server", retryable=True))
    assert (unanswered.request, unanswered.failed) == (None, "engine: no server")


def test_what_a_work_item_raises_is_raised_in_the_episode() -> None:
    found = episodes()
    attempt = Attempt(found.objective, {**ROWS[0], "checks": "many"}, seed=0)
    attempt.reply("Rex")
    with pytest.raises(ValueError, match="'many'"):
        attempt.reply("Lima")


def test_tasks_that_there_are_not_are_told() -> None:
    with pytest.raises(InputError, match="no split `dev`; there are: train, test"):
        episodes().start(split="dev")
    for index in (2, -1):
        with pytest.raises(InputError, match=f"has the tasks 0 to 1, not {index}"):
            episodes().start(index=index)


def test_a_recipe_gives_its_tasks_and_objective() -> None:
    recipe = load_recipe("demo", overrides={"task.test_share": 0.2})
    found = Episodes.of(recipe, tasks=5)
    assert {name: len(rows) for name, rows in found.splits.items()} == {"train": 5, "test": 5}
    assert not {row["id"] for row in found.rows("train")} & {row["id"] for row in found.rows("test")}
    plain = Episodes(SingleTurn(recipe.task), splits=found.splits)
    attempt = plain.start(split="test", index=3)
    attempt.reply(str(found.rows("test")[3]["answer"]))
    assert attempt.reward == 1.0
    assert list(Episodes.of(load_recipe("demo"), tasks=5).splits) == ["train"]  # it has no share for tests


def test_an_objective_that_counts_tokens_of_the_policy_asks_for_it() -> None:
    with pytest.raises(ConfigError, match=r"objective \"memagent\" counts tokens of the policy"):
        Episodes.of(load_recipe("memagent-7b"))


def test_seeds_and_rows_decide_the_seed_of_an_episode() -> None:
    seeds = [Attempt(episodes().objective, row, seed=seed).request.seed for row in ROWS for seed in (0, 1)]  # type: ignore[union-attr]
    assert len(set(seeds)) == 4
    assert seeds[0] == episodes().start(seed=0).request.seed  # type: ignore[union-attr]
