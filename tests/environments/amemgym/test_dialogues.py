"""Conversations: openings, rounds, follow-ups that leak nothing, their files, and replay."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.recording_model import RecordingModel

from memagent.environments.amemgym.assistants.base import Assistant
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.dialogues import (
    Dialogue,
    Rounds,
    Utterance,
    first_message,
    read_interactions,
    replay,
    run_dialogues,
    write_interactions,
)
from memagent.environments.amemgym.generate import ValueMatcher, generate_user, preset
from memagent.environments.amemgym.simulated_user import (
    NEUTRAL,
    TRIES,
    GuardedUser,
    ModelUser,
    NeutralUser,
    SessionPlace,
    named_values,
)
from memagent.errors import InputError, ModelError
from memagent.models.fake import FakeModel
from memagent.models.scripted import ScriptedModel
from memagent.types import Message, Recall


class Listener(Assistant):
    """Replies by number and keeps everything in a list."""

    def __init__(self) -> None:
        super().__init__("listener")
        self.heard: list[tuple[str, str, str]] = []
        self.acted = 0

    def act(self, text: str) -> str:
        self.acted += 1
        reply = f"reply {self.acted}"
        self.add(text, reply)
        return reply

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        raise NotImplementedError

    def _remember(self, said: Message, reply: Message, session: str) -> None:
        self.heard.append((said.text, reply.text, session))


def watcher() -> RecordingModel:
    return RecordingModel([f"  follow-up {number}\n" for number in range(1, 40)])


@pytest.fixture(scope="module")
def item() -> UserItem:
    return generate_user(0, settings=preset("v1.base"), seed=3)


def test_openings_and_rounds(item: UserItem) -> None:
    model, assistant = watcher(), Listener()
    for period, rounds in ((0, 1), (1, 2), (2, 2)):
        before = len(model.prompts)
        dialogues = run_dialogues(item, period, assistant.act, ModelUser(model), rounds=Rounds(1, 2))
        sessions = item.periods[period].sessions
        assert [one[0].content for one in dialogues] == [f"[Current Time: {s.session_time}]\n{s.query}" for s in sessions]
        assert {len(one) for one in dialogues} == {2 * rounds}
        assert len(model.prompts) - before == (rounds - 1) * len(sessions)
        assert all([one.role for one in dialogue] == ["user", "assistant"] * rounds for dialogue in dialogues)


def test_the_simulated_user_sees_the_two_last_messages(item: UserItem) -> None:
    model = watcher()
    [first, *_] = run_dialogues(item, 1, Listener().act, ModelUser(model), rounds=Rounds(1, 5))
    period, session = item.periods[1], item.periods[1].sessions[0]
    for number, prompt in enumerate(model.prompts[:4]):
        assert f"<person>\n{first[2 * number].content}\n</person>" in prompt
        assert f"<assistant>\n{first[2 * number + 1].content}\n</assistant>" in prompt
        assert item.user_profile.formatted_str in prompt
        assert item.start_time in prompt
        assert period.period_end in prompt
        assert first_message(session) in prompt
        assert all(name in prompt and all(value in prompt for value in item.state_schema[name]) for name in item.state_schema)
    assert first[2].content == "follow-up 1"


def test_the_assistant_hears_the_time_once_and_no_end_of_a_session(item: UserItem) -> None:
    assistant = Listener()
    run_dialogues(item, 1, assistant.act, NeutralUser(), rounds=Rounds(1, 2))
    sessions = item.periods[1].sessions
    assert [session for _, _, session in assistant.heard[::2]] == [one.session_time for one in sessions]
    assert [said for said, _, _ in assistant.heard[::2]] == [one.query for one in sessions]


def test_neutral_follow_ups_give_away_no_value_of_any_variable() -> None:
    matcher = ValueMatcher()
    assert not [one for one in NEUTRAL if matcher.hinted(one)]


def test_neutral_follow_ups_depend_on_the_seed_alone(item: UserItem) -> None:
    def said(seed: int) -> list[Dialogue]:
        return run_dialogues(item, 1, Listener().act, NeutralUser(seed=seed), rounds=Rounds(1, 4))

    assert said(1) == said(1) != said(2)
    for dialogue in said(1):
        asked = [one.content for one in dialogue[2::2]]
        assert all(first != second for first, second in pairwise(asked))


def test_a_leak_is_drawn_again_and_replaced_in_the_end(item: UserItem) -> None:
    value = next(iter(item.state_schema.values()))[0]
    scene = SessionPlace(item, 1, item.periods[1].sessions[0])
    once = GuardedUser(ModelUser(ScriptedModel([f"I am {value}!", "", "Tell me more."])), named_values(item))
    assert once.follow_up(scene, "a", "b") == "Tell me more."
    assert once.counts == {"said": 1, "leaked": 1, "empty": 1}
    always = GuardedUser(ModelUser(FakeModel(f"I am {value.replace('_', ' ')}!")), named_values(item))
    assert always.follow_up(scene, "a", "b") in NEUTRAL
    assert always.counts == {"said": 1, "leaked": TRIES, "replaced": 1}


def test_errors_of_the_model_are_not_swallowed(item: UserItem) -> None:
    user = GuardedUser(ModelUser(ScriptedModel([])), named_values(item))
    with pytest.raises(ModelError, match="run out"):
        user.follow_up(SessionPlace(item, 1, item.periods[1].sessions[0]), "a", "b")


def test_interactions_are_kept_under_their_official_name(item: UserItem, tmp_path: Path) -> None:
    dialogues = run_dialogues(item, 1, Listener().act, NeutralUser(), rounds=Rounds())
    file = write_interactions(dialogues, tmp_path, item.id, 1)
    assert file == tmp_path / item.id / "interactions" / "period_01.json"
    stored = json.loads(file.read_text("utf-8"))
    assert [[set(one) for one in dialogue] for dialogue in stored] == [[{"role", "content"}] * 4] * len(dialogues)
    assert read_interactions(tmp_path, item.id, 1) == dialogues


def test_replay_generates_nothing_and_is_remembered_alike(item: UserItem) -> None:
    first, second = Listener(), Listener()
    dialogues = run_dialogues(item, 1, first.act, NeutralUser(), rounds=Rounds())
    replay(dialogues, second.add, period=item.periods[1], rounds=2)
    assert second.heard == first.heard
    assert second.acted == 0


def test_replay_asserts_queries_and_length(item: UserItem) -> None:
    dialogues = run_dialogues(item, 1, Listener().act, NeutralUser(), rounds=Rounds())
    first = dialogues[0][0].content
    other, earlier, longer = (
        [[Utterance(role="user", content=text), *dialogues[0][1:]], *dialogues[1:]]
        for text in ("Hello", first.replace("Time: 20", "Time: 19"), f"{first} ")
    )
    swapped = [dialogues[0][::-1], *dialogues[1:]]
    assistant = Listener()
    for stored, rounds, message in (
        (other, 2, "session 0 opens with 'Hello'"),
        (earlier, 2, "session 0 opens with '.Current Time: 19"),
        (longer, 2, "session 0 opens with"),
        (dialogues, 5, "session 0 has 4 messages; 5 rounds have 10"),
        (dialogues[:-1], 2, "conversations are stored"),
        (swapped, 2, "session 0: the roles are"),
    ):
        with pytest.raises(InputError, match=message):
            replay(stored, assistant.add, period=item.periods[1], rounds=rounds)
    assert not assistant.heard


def test_a_missing_or_broken_file_is_named(item: UserItem, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"period_03\.json cannot be read"):
        read_interactions(tmp_path, item.id, 3)
    file = tmp_path / item.id / "interactions" / "period_03.json"
    file.parent.mkdir(parents=True)
    file.write_text('[[{"role": "user"}]]')
    with pytest.raises(InputError, match="no list of conversations"):
        read_interactions(tmp_path, item.id, 3)
