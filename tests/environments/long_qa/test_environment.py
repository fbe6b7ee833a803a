"""Long-context questions as an environment: chunk by chunk, an answer at the end, a reward for what was boxed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from memagent.environments.base import Environment, Observation, play_episode, replay_episode
from memagent.environments.long_qa.environment import LongQaEnvironment
from memagent.errors import InputError
from memagent.evaluation.metrics import strict_sub_em
from memagent.memory.memocr.loops import NO_MEMORY
from memagent.text.token_chunks import CountCutter

ROW = {"id": "q1", "question": "Where does Ada live?", "context": "Ada lives in Lyon now. " * 8, "answers": ["Lyon", "Lyons"]}
OTHER = {"id": "q2", "question": "And Bo?", "context": "", "answers": ["Rome"]}
_PART = re.compile(r"<(problem|article|memory)>\n(.*?)\n</\1>", re.DOTALL)


def words(text: str) -> int:
    return len(text.split())


def world(**options: Any) -> LongQaEnvironment:
    settings: dict[str, Any] = {"cutter": CountCutter(words), "chunk_tokens": 20} | options
    return LongQaEnvironment({"train": [ROW], "test": [OTHER]}, **settings)


def parts(seen: Observation) -> dict[str, str]:
    (message,) = seen.messages
    return dict(_PART.findall(message.text))


def keep(seen: Observation) -> str:
    """An agent that keeps the first sentence, and answers with its last word but one."""
    shown = parts(seen)
    if seen.role == "draft":
        return shown["article"].split(".")[0]
    return f"It is \\boxed{{{shown['memory'].split()[-2]}}}."


def test_it_is_read_chunk_by_chunk_and_answered_at_the_end() -> None:
    place: Environment = world()
    seen: list[Observation] = []

    def act(observation: Observation) -> str:
        seen.append(observation)
        return keep(observation)

    episode = play_episode(place, place.tasks("train")[0], seed=0, act=act)

    assert [one.role for one in seen] == ["draft", "draft", "answer"]
    assert [one.max_tokens for one in seen] == [1024, 1024, 1024]
    assert parts(seen[0])["memory"] == NO_MEMORY
    assert "".join(parts(one)["article"] for one in seen[:2]).count("Lyon") == 8
    assert "article" not in parts(seen[2])
    assert episode.rewards == (0.0, 0.0, 1.0)
    assert episode.turn_rewards == (0.0, 0.0, 0.0)
    assert len(replay_episode(place, episode)) == 3


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        ("\\boxed{the lyon.}", 1.0),
        ("\\boxed{in Lyon}", 0.0),
        ("\\boxed{LYONS}", 1.0),
        ("\\boxed{Rome}", 0.0),
        ("Lyon", 0.0),
        ("", 0.0),
    ],
)
def test_the_reward_is_for_the_boxed_answer_alone(said: str, reward: float) -> None:
    episode = play_episode(world(), ROW, seed=0, act=lambda seen: "\\boxed{Lyon}" if seen.role == "draft" else said)
    assert episode.reward == reward


def test_another_metric_may_score() -> None:
    anywhere = world(metric=strict_sub_em)
    assert play_episode(anywhere, ROW, seed=0, act=lambda _: "\\boxed{in Lyon}").reward == 1.0
    assert play_episode(anywhere, ROW, seed=0, act=lambda _: "\\boxed{Lyonnais}").reward == 0.0


def test_a_text_without_tokens_goes_straight_to_the_question() -> None:
    place = world()
    seen = place.reset(OTHER, seed=0)
    assert (seen.role, seen.turn_rewards, parts(seen)["memory"]) == ("answer", (), NO_MEMORY)
    end = place.step("\\boxed{Rome}")
    assert (end.done, end.reward, end.turn_rewards, end.messages) == (True, 1.0, (0.0,), ())


def test_a_memory_is_cut_at_its_limit_and_an_empty_one_leaves_it_as_it_was() -> None:
    place = world(memory_tokens=3)
    place.reset(ROW, seed=0)
    assert parts(place.step("one two three four five"))["memory"] == "one two three"
    assert parts(place.step("  "))["memory"] == "one two three"


def test_what_cannot_be_done_is_refused() -> None:
    place = world()
    with pytest.raises(InputError, match="no question 'q9'"):
        place.reset({"id": "q9"}, seed=0)
    with pytest.raises(InputError, match="begin one with `reset`"):
        place.step("hello")
    place.reset(OTHER, seed=0)
    place.step("x")
    with pytest.raises(InputError, match="begin one with `reset`"):
        place.step("hello")
    with pytest.raises(InputError, match="0 a chunk"):
        world(chunk_tokens=0)
