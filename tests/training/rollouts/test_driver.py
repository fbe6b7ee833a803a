"""Rolling out: lock-step rounds, requests one by one, order and seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memagent.types import Message, user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")


from scripted_episodes import END, SEED, TOKENIZER, Engine, Requests, jobs, policy_tokenizer, rolled, turns

from memagent_training.engines.base import Completion
from memagent_training.objectives.base import Episode, EpisodeResult, PolicyRequest, Task
from memagent_training.rollouts.driver import seed_of

# -- rounds -----------------------------------------------------------------------------------------------------------------


def test_the_engine_is_called_as_often_as_the_longest_episode_asks() -> None:
    engine = Engine()

    def run(task: Task, seed: int) -> Episode:
        return turns(int(str(task["id"])))(task, seed)

    done = rolled(run, jobs("2", "0", "4", "1"), engine)

    assert [len(call) for call in engine.calls] == [3, 2, 1, 1]
    assert [one.prompt_id for one in done] == ["2", "0", "4", "1"]  # the order of the jobs, not of their ends
    assert [len(one.segments) for one in done] == [2, 0, 4, 1]


def test_nothing_to_do_asks_nothing() -> None:
    engine = Engine()

    assert rolled(turns(1), [], engine) == []
    assert engine.calls == []


def test_a_process_goes_on_as_long_as_any_other_does() -> None:
    engine, told = Engine(), []

    def go_on(here: bool) -> bool:
        told.append(here)
        return len(told) <= 3  # others ask three times

    done = rolled(turns(1), jobs("a"), engine, any_rank_active=go_on)

    assert [len(call) for call in engine.calls] == [1, 0, 0]
    assert told == [True, False, False, False]
    assert len(done) == 1


def test_ids_groups_and_outcomes() -> None:
    def run(task: Task, seed: int) -> Episode:
        reply = yield PolicyRequest((user_message("1"),))
        return EpisodeResult(
            rewards={"answer": float(reply.text)}, turn_rewards=(0.5,), answer=reply.text, correct=True, valid=False
        )

    done = rolled(run, jobs("p", "q", attempts=2))

    assert [(one.id, one.group_id, one.prompt_id) for one in done] == [
        ("0:0/0", "0:0", "p"),
        ("0:0/1", "0:0", "p"),
        ("0:1/0", "0:1", "q"),
        ("0:1/1", "0:1", "q"),
    ]
    assert [one.rewards for one in done] == [{"answer": 0.0}, {"answer": 1.0}] * 2
    assert (done[1].turn_rewards, done[1].answer, done[1].correct, done[1].valid) == ((0.5,), "1", True, False)


def test_the_reply_tells_text_usage_and_why_it_stopped() -> None:
    heard = []

    def run(task: Task, seed: int) -> Episode:
        heard.append((yield PolicyRequest((user_message("12"),), max_tokens=4)))
        heard.append((yield PolicyRequest((user_message("3"),), max_tokens=4)))
        return EpisodeResult()

    rolled(
        run, jobs("a"), Engine(lambda prompt: Completion(ids=(5, 6, END)[: 1 + len(prompt.ids)], finished=len(prompt.ids) > 1))
    )

    assert [(reply.text, reply.stop_reason) for reply in heard] == [("56", "stop"), ("56", "length")]
    assert [(reply.usage.text_in, reply.usage.text_out, reply.usage.calls) for reply in heard] == [(2, 3, 1), (1, 2, 1)]


def test_prompts_carry_limit_and_attempt() -> None:
    engine = Engine()

    rolled(turns(1), jobs("a", attempts=3), engine)

    assert [(prompt.max_tokens, prompt.attempt) for prompt in engine.calls[0]] == [(3, 0), (3, 1), (3, 2)]


# -- requests one by one -----------------------------------------------------------------------------------------------------


def test_an_episode_waits_for_no_other() -> None:
    slow = {"0:0/0#0": 0.2}
    engine = Requests(lambda prompt: slow.get(prompt.name, 0.0))

    done = rolled(turns(3), jobs("a", "b"), engine)

    assert [one.prompt_id for one in done] == ["a", "b"]
    assert [one.name for one in engine.asked] == ["0:0/0#0", "0:1/0#0", "0:1/0#1", "0:1/0#2", "0:0/0#1", "0:0/0#2"]


def test_requests_say_whose_they_are_and_have_seeds_of_their_own() -> None:
    first, again, other = Requests(), Requests(lambda prompt: 0.001 * (prompt.seed % 7)), Requests()

    done = [
        rolled(turns(3), [replace(one, run_seed=run) for one in jobs("a", "b", attempts=4)], engine)
        for run, engine in ((1, first), (1, again), (2, other))
    ]

    def seeds(engine: Requests) -> dict[str, int]:
        return {one.name: one.seed for one in engine.asked}

    assert len(set(seeds(first).values())) == 24
    assert seeds(first) == seeds(again) != seeds(other)
    assert done[0] == done[1] != done[2]
    assert {(one.group, one.role) for one in first.asked} == {("0:0", "answer"), ("0:1", "answer")}
    assert all(0 <= one.seed < 2**63 for one in first.asked)


def test_both_ways_of_asking_ask_the_same() -> None:
    alone, together = Requests(), Engine(lambda prompt: Completion(ids=(prompt.seed % 10, END)))

    assert rolled(turns(3), jobs("a", "b", attempts=2), alone) == rolled(turns(3), jobs("a", "b", attempts=2), together)
    assert {one.name: one for one in alone.asked} == {one.name: one for call in together.calls for one in call}


def test_an_error_ends_all_episodes_and_leaves_no_request_behind() -> None:
    engine = Requests(lambda prompt: 30.0 if prompt.group != "0:1" else 0.01)

    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rolled(run, jobs("a", "b", "c"), engine)
    assert engine.given_up == 2


# -- seeds ------------------------------------------------------------------------------------------------------------------


def test_episode_seeds_are_the_jobs_and_call_seeds_the_batchs() -> None:
    seen: dict[str, int] = {}

    def run(task: Task, seed: int) -> Episode:
        seen[f"{task['id']}{len(seen)}"] = seed
        return (yield from turns(2)(task, seed))

    first, other, shifted = Engine(), Engine(), Engine()
    rolled(run, jobs("a", attempts=3), first)
    alone = dict(seen)
    seen.clear()
    rolled(run, jobs("a", attempts=3), other)
    rolled(turns(2), jobs("a", attempts=3), shifted, seed=2)

    assert alone == seen
    assert len(set(alone.values())) == 3
    assert first.seeds == other.seeds
    assert len({*first.seeds, *shifted.seeds}) == 4  # by round and by batch


def test_seeds_are_the_same_everywhere_and_keep_their_parts_apart() -> None:
    assert seed_of("0:1/2") == SEED
    assert 0 <= SEED < 2**63
    assert seed_of(1, 23) != seed_of(12, 3)
    assert seed_of("1", 2) == seed_of(1, "2")


# -- by chat template --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [True, False])
def test_a_dialogue_by_chat_template_is_one_segment(ended: bool) -> None:
    def run(task: Task, seed: int) -> Episode:
        messages = [user_message("hello")]
        for _ in range(3):
            reply = yield PolicyRequest(tuple(messages), role="turn")
            messages += [Message(role="assistant", content=reply.text), user_message("go on")]
        return EpisodeResult()

    engine = Engine(lambda prompt: Completion(ids=(10, 11, END) if ended else (10, 11), finished=ended))
    (rollout,) = rolled(run, jobs("a"), engine, tokenizer=policy_tokenizer(template=True))

    (segment,) = rollout.segments
    assert segment.trained == 3 * (3 if ended else 2)
    spoken = [token for token, mask in zip(segment.ids, segment.mask, strict=True) if mask]
    assert spoken == [10, 11, *([END] if ended else [])] * 3
    between = TOKENIZER.decode([token for token, number in zip(segment.ids, segment.turn_ids, strict=True) if number == -1])
    assert between.count("go on") == 2
    assert tuple(engine.calls[-1][0].ids) == (*segment.prompt_ids, *segment.ids[: -3 if ended else -2])
