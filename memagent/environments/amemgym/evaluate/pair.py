"""One assistant through the life of one user: talk, save, ask, probe, and learn where it evolves; period by period.

The talk is held on-policy with a simulated user, or replayed from stored conversations without a word of the assistant's own.
What the model is shown for the questions and probes of a period is made first, one after another; then all are asked at
once. A call that failed is counted and listed, and the life goes on: a reply that did not come is `NO_REPLY`, a follow-up
that did not come a neutral question, an answer that did not come no answer.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from memagent.environments.amemgym.assistants import Assistant, WindowedAssistant
from memagent.environments.amemgym.assistants.evolution import feedback
from memagent.environments.amemgym.assistants.evolving import EvolvingAssistant
from memagent.environments.amemgym.data import Item, write_json
from memagent.environments.amemgym.dialogues import Rounds, read_interactions, replay, run_dialogues, write_interactions
from memagent.environments.amemgym.evaluate.records import Record, Said, answer_record, probe_record
from memagent.environments.amemgym.official_format import DIAGNOSIS, OVERALL, Probe
from memagent.environments.amemgym.rule_reader import question_prompt, state_prompt
from memagent.environments.amemgym.scoring.diagnosis import diagnose
from memagent.environments.amemgym.simulated_user import NeutralUser, SessionPlace, SimulatedUser
from memagent.errors import ConfigError, InputError, ModelError, RenderError
from memagent.models.base import ChatModel
from memagent.models.concurrency import CallPool
from memagent.prompts import Prompt
from memagent.types import Usage

NO_REPLY = "(no reply)"


@dataclass
class Outcome:
    """What came of a pair."""

    overall: list[list[Record]] = field(default_factory=list)
    """[periods][questions]."""
    diagnosis: list[list[Record]] = field(default_factory=list)
    talk: Usage = field(default_factory=Usage)
    """Of the assistant's replies."""
    questions: Usage = field(default_factory=Usage)
    probes: Usage = field(default_factory=Usage)
    memory: Usage = field(default_factory=Usage)
    """Of writing memories by a model, and of evolving."""
    writing: Counter[str] = field(default_factory=Counter)
    """Of memories by a window's schedule, as `WindowedAssistant` counts it."""
    user: Usage = field(default_factory=Usage)
    """Of a model that played the user."""
    follow_ups: Counter[str] = field(default_factory=Counter)
    """Of the user, as `GuardedUser` counts them."""
    failures: list[str] = field(default_factory=list)


class Pair:
    """An assistant and a user. With `source`, conversations are read from `<source>/<user>/interactions`."""

    def __init__(
        self,
        item: Item,
        assistant: Assistant,
        user: SimulatedUser,
        *,
        rounds: Rounds,
        limit: CallPool,
        folder: Path,
        source: Path | None = None,
    ) -> None:
        if assistant.model is None:
            raise ConfigError(f"the assistant {assistant.name} has no model to be evaluated by; give it a model")
        self._item, self._assistant, self._model, self._user = item, assistant, assistant.model, user
        self._rounds, self._limit, self._source = rounds, limit, source
        self._folder = folder / item.id
        self._method_folder = folder
        self._neutral = NeutralUser()
        self._place = ""
        self.outcome = Outcome()

    def live(self) -> Outcome:
        """All periods; the official files are written as they become whole."""
        for period in range(len(self._item.periods)):
            self._place = f"user {self._item.id}, period {period}"
            self._talk(period)
            self._assistant.settle()
            self._save(period)
            self._ask(period)
            write_json(self.outcome.overall, self._folder / OVERALL)
            write_json(self.outcome.diagnosis, self._folder / DIAGNOSIS)
            self._learn(period)
        self.outcome.memory = self._assistant.usage
        if isinstance(self._assistant, WindowedAssistant):
            self.outcome.writing = self._assistant.counts
        accuracy = [[record["scores"]["accuracy"] for record in row] for row in self.outcome.overall]
        write_json({"accuracy": accuracy}, self._folder / "overall_metrics.json")
        probes = [[Probe.model_validate(record) for record in row] for row in self.outcome.diagnosis]
        write_json(diagnose(list(map(list, probes))).official(), self._folder / "diagnosis_metrics.json")
        return self.outcome

    # -- talk ---------------------------------------------------------------------------------------------------------

    def _talk(self, period: int) -> None:
        item = self._item
        if self._source is None:
            dialogues = run_dialogues(item, period, self, self, rounds=self._rounds)
            write_interactions(dialogues, self._method_folder, item.id, period)
            return
        stored = read_interactions(self._source, item.id, period)
        replay(stored, self, period=item.periods[period], rounds=self._rounds.of(period))

    def act(self, text: str) -> str:
        """The assistant's reply to a message, and its memory of both."""
        said = self._say(self._shown(text), "reply")
        self.outcome.talk += said.usage
        reply = said.text or NO_REPLY
        self.add(text, reply)
        return reply

    def add(self, text: str, reply: str) -> None:
        """Let the assistant remember a round."""
        try:
            self._assistant.add(text, reply)
        except ModelError as error:
            self._failed("memory", error)

    def follow_up(self, scene: SessionPlace, said: str, reply: str, *, attempt: int = 0) -> str:
        """The user's next message."""
        try:
            return self._user.follow_up(scene, said, reply, attempt=attempt)
        except ModelError as error:
            self._failed("follow-up", error)
            return self._neutral.follow_up(scene, said, reply)

    def _save(self, period: int) -> None:
        """Save the assistant's state, whole or not at all."""
        folder = self._folder / "agent_states" / f"period_{period:02d}"
        draft = folder.with_name(f".{folder.name}")
        shutil.rmtree(draft, ignore_errors=True)
        self._assistant.save(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)

    # -- questions ----------------------------------------------------------------------------------------------------

    def _ask(self, period: int) -> None:
        item, state = self._item, self._item.periods[period].state
        asked = [question_prompt(one) for one in item.qas]
        probed = [state_prompt(item, one) for one in item.qas]
        shown = [self._shown(text) for text in (*asked, *probed)]
        said = self._limit.map(self._called, shown)
        for q, one in enumerate(said):
            what = f"question {q}" if q < len(asked) else f"probe {q - len(asked)}"
            if one.failure is not None:
                self.outcome.failures.append(f"{self._place}, {what}: {one.failure}")
        answers, probes = said[: len(asked)], said[len(asked) :]
        self.outcome.questions += sum((one.usage for one in answers), Usage())
        self.outcome.probes += sum((one.usage for one in probes), Usage())
        records = [answer_record(q, state, one) for q, one in zip(item.qas, answers, strict=True)]
        if isinstance(self._assistant, EvolvingAssistant):
            for record, text in zip(records, asked, strict=True):
                record["relevant_memories"] = self._assistant.memories(text)
        self.outcome.overall.append(records)
        self.outcome.diagnosis.append(
            [probe_record(item, period, q, probed[q], one) for q, one in enumerate(probes)],
        )

    def _learn(self, period: int) -> None:
        """Let an assistant that evolves learn from the period's answers."""
        if not isinstance(self._assistant, EvolvingAssistant):
            return
        records = self.outcome.overall[period]
        chosen = [None if one["response"] is None else one["response"] - 1 for one in records]
        try:
            self._assistant.learn(feedback(self._item, period, chosen, [one["relevant_memories"] for one in records]))
        except ModelError as error:
            self._failed("evolution", error)
        self._save(period)

    def _shown(self, text: str) -> Prompt | Said:
        """What the model is shown; why it cannot be shown anything."""
        try:
            return self._assistant.prompt(text)
        except (InputError, RenderError, ModelError) as error:
            return Said(None, _told(error))

    def _say(self, shown: Prompt | Said, what: str) -> Said:
        said = self._called(shown)
        if said.failure is not None:
            self.outcome.failures.append(f"{self._place}, {what}: {said.failure}")
        return said

    def _called(self, shown: Prompt | Said) -> Said:
        return shown if isinstance(shown, Said) else call(self._model, shown)

    def _failed(self, what: str, error: Exception) -> None:
        self.outcome.failures.append(f"{self._place}, {what}: {_told(error)}")


def call(model: ChatModel, prompt: Prompt) -> Said:
    """What a model says; a call that failed is no reply."""
    try:
        return Said(model.generate(prompt.messages, max_tokens=prompt.max_tokens, stop=prompt.stop))
    except ModelError as error:
        return Said(None, _told(error))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
