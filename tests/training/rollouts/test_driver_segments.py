"""How the turns of an episode become segments: one where they continue, others where they do not; every sampled token once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.models.base import Request
from memagent.types import user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from memagent_training.engines.base import Completion, Prompt
from memagent_training.grpo.rollout import Segment
from memagent_training.objectives.base import PolicyRequest
from memagent_training.rollouts.driver import Turn, segments_of


def turn(prompt: Sequence[int], said: Sequence[int], *, ask: Request | None = None, **options: Any) -> Turn:
    scores = options.pop("logprobs", None)
    return Turn(
        ask
        or PolicyRequest((user_message("x"),), **{name: options.pop(name) for name in ("role", "weight") if name in options}),
        Prompt(ids=tuple(prompt), **options),
        Completion(ids=tuple(said), logprobs=scores),
    )


def test_turns_that_continue_share_a_segment_with_the_others_words_masked() -> None:
    (segment,) = segments_of([turn([1, 2], [3, 4]), turn([1, 2, 3, 4, 5, 6], [7]), turn([1, 2, 3, 4, 5, 6, 7], [8, 9])])

    assert tuple(segment.prompt_ids) == (1, 2)
    assert segment.ids == (3, 4, 5, 6, 7, 8, 9)
    assert segment.mask == (1, 1, 0, 0, 1, 1, 1)
    assert segment.turn_ids == (0, 0, -1, -1, 1, 2, 2)
    assert segment.logprobs is None
    assert segment.trained == 5


def test_scores_are_joined_where_all_have_them() -> None:
    (both,) = segments_of([turn([1], [2], logprobs=(-0.1,)), turn([1, 2, 3], [4], logprobs=(-0.4,))])
    (one,) = segments_of([turn([1], [2], logprobs=(-0.1,)), turn([1, 2, 3], [4])])

    assert both.logprobs == (-0.1, 0.0, -0.4)
    assert one.logprobs is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (turn([1, 2], [3]), turn([1, 2, 4, 5], [6])),  # said something else than was sampled
        (turn([1, 2], [3]), turn([1, 2], [6])),  # shorter
        (turn([1, 2], [3], role="draft"), turn([1, 2, 3], [6], role="std")),
        (turn([1, 2], [3], weight=1.0), turn([1, 2, 3], [6], weight=0.5)),
        (turn([1, 2], [3]), turn([1, 2, 3, 4], [6], images=(b"new",))),
    ],
    ids=["edited", "new conversation", "role", "weight", "picture"],
)
def test_turns_that_do_not_continue_have_segments_of_their_own(first: Turn, second: Turn) -> None:
    one, other = segments_of([first, second])

    assert (tuple(one.prompt_ids), one.ids, one.mask, one.turn_ids) == (first.prompt.ids, first.said.ids, (1,), (0,))
    assert (tuple(other.prompt_ids), other.ids, other.turn_ids) == (second.prompt.ids, second.said.ids, (1,))
    assert other.images == second.prompt.images


def test_a_continued_conversation_keeps_its_pictures_once() -> None:
    (segment,) = segments_of([turn([1, 2], [3], images=(b"page",)), turn([1, 2, 3, 4], [5], images=(b"page",))])

    assert segment.images == (b"page",)


def test_a_return_to_an_earlier_conversation_is_not_joined() -> None:
    segments = segments_of([turn([1], [2]), turn([7], [8]), turn([1, 2, 3], [4])])

    assert [one.ids for one in segments] == [(2,), (8,), (4,)]


def test_role_and_weight_come_from_the_ask_and_plain_requests_are_answers() -> None:
    asked, plain = segments_of([turn([1], [2], role="verify", weight=0.25), turn([5], [6], ask=Request((user_message("x"),)))])

    assert (asked.role, asked.weight) == ("verify", 0.25)
    assert (plain.role, plain.weight) == ("answer", 1.0)


def test_no_turns_no_segments() -> None:
    assert segments_of([]) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(6, 9), max_size=3), min_size=5, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_every_sampled_token_is_trained_once_whatever_is_joined(
    said: list[list[int]], between: list[list[int]], fresh: list[bool]
) -> None:
    turns_, context = [], [9]
    for number, ids in enumerate(said):
        context = [9, 9, number] if fresh[number] else [*context, *between[number]]
        turns_.append(turn(context, ids))
        context = [*context, *ids]

    segments = segments_of(turns_)

    assert [token for one in segments for token in trained(one)] == [token for ids in said for token in ids]
    for number, one in enumerate(turns_):  # each is conditioned on exactly the prompt that it was sampled from
        segment, start = found(segments, number)
        assert (*segment.prompt_ids, *segment.ids[:start]) == one.prompt.ids
        assert segment.ids[start : start + len(one.said.ids)] == one.said.ids


def trained(segment: Segment) -> list[int]:
    return [token for token, mask in zip(segment.ids, segment.mask or (), strict=True) if mask]


def found(segments: Sequence[Segment], number: int) -> tuple[Segment, int]:
    return next((one, list(one.turn_ids or ()).index(number)) for one in segments if number in (one.turn_ids or ()))
