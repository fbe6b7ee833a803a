"""One method through all periods of one user: talk, save, ask, and learn where it evolves; period by period.

The talk is held on-policy with a simulated user, or replayed from stored conversations without a word of the assistant's own. A
reply or follow-up that did not come is counted and listed, a neutral question takes the follow-up's place, and the run goes on.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from memagent.environments.amemgym.answerers import Answerer, ModelAnswerer, UserResult
from memagent.environments.amemgym.assistants.base import Assistant
from memagent.environments.amemgym.assistants.windowed import WindowedAssistant
from memagent.environments.amemgym.baselines import BaselineAssistant
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.dialogues import Rounds, read_interactions, replay, run_dialogues, write_interactions
from memagent.environments.amemgym.simulated_user import GuardedUser, NeutralUser, SessionPlace
from memagent.errors import ModelError
from memagent.evaluation.runner import reason
from memagent_renderers.budget import estimate_tokens


class UserRun:
    """An assistant and a user. Conversations are kept in `folder`; with `source`, they are read from there instead."""

    def __init__(
        self,
        item: UserItem,
        assistant: Assistant,
        user: GuardedUser,
        answerer: Answerer,
        *,
        rounds: Rounds,
        folder: Path | None = None,
        source: Path | None = None,
    ) -> None:
        self._item, self._assistant, self._user, self._answerer = item, assistant, user, answerer
        self._rounds, self._folder, self._source = rounds, folder, source
        self._neutral = NeutralUser()
        self._place = ""
        self._result = next(iter(answerer.results.values()))
        """Has what the budgets of a run share."""

    def run(self) -> dict[int, UserResult]:
        assistant, answerer, result = self._assistant, self._answerer, self._result
        for period in range(len(self._item.periods)):
            self._place = f"user {self._item.id}, period {period}"
            began = time.perf_counter()
            if not isinstance(assistant, BaselineAssistant):
                self._talk(period)
            assistant.consolidate()
            result.remembering_seconds += time.perf_counter() - began
            self._save(period)
            answerer.ask(assistant, period, place=self._place)
            if isinstance(answerer, ModelAnswerer) and isinstance(assistant, WindowedAssistant) and assistant.evolution:
                try:
                    answerer.learn(assistant, period)
                except ModelError as error:
                    self._failed("evolution", error)
                self._save(period)
        result.usage["memory"] = assistant.usage
        result.counts["follow_ups"] = self._user.counts
        if isinstance(assistant, WindowedAssistant):
            result.counts["writing"] = assistant.counts
        if isinstance(answerer, ModelAnswerer):
            answerer.finish()
        return answerer.results

    def act(self, text: str) -> str:
        """The assistant's reply to a message, and its memory of both."""
        reply = self._answerer.reply(self._assistant, text, place=self._place)
        self.add(text, reply)
        return reply

    def add(self, text: str, reply: str) -> None:
        self._result.talk_tokens += estimate_tokens(text) + estimate_tokens(reply)
        try:
            self._assistant.add(text, reply)
        except ModelError as error:
            self._failed("memory", error)

    def follow_up(self, place: SessionPlace, said: str, reply: str, *, attempt: int = 0) -> str:
        try:
            return self._user.follow_up(place, said, reply, attempt=attempt)
        except ModelError as error:
            self._failed("follow-up", error)
            return self._neutral.follow_up(place, said, reply)

    def _talk(self, period: int) -> None:
        item = self._item
        if self._source is not None:
            stored = read_interactions(self._source, item.id, period)
            replay(stored, self.add, period=item.periods[period], rounds=self._rounds.of(period))
            return
        dialogues = run_dialogues(item, period, self.act, self, rounds=self._rounds)
        if self._folder is not None:
            write_interactions(dialogues, self._folder, item.id, period)

    def _save(self, period: int) -> None:
        """Save the assistant's state in the official tree, whole or not at all."""
        if self._folder is None or not isinstance(self._answerer, ModelAnswerer):
            return
        folder = self._folder / self._item.id / "agent_states" / f"period_{period:02d}"
        draft = folder.with_name(f".{folder.name}")
        shutil.rmtree(draft, ignore_errors=True)
        self._assistant.save(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)

    def _failed(self, what: str, error: Exception) -> None:
        self._result.failures.append(f"{self._place}, {what}: {reason(error)}")
