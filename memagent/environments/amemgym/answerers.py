"""Who answers the questions of a period: a model that is shown the assistant's prompt, or rules that read its view.

`ModelAnswerer` also makes the replies of the conversations. What the model is shown for the questions and probes of a period is
made first, one after another; then all are asked at once. A call that failed is counted and listed, and the run goes on: a
reply that did not come is `NO_REPLY`, an answer that did not come no answer.

`RuleAnswerer` takes a view for each question and for the values behind it, at every budget, and has `RuleBasedReader` answer
from them. Pictures are read by a `SimulatedReader`. A view that could not be made counts as a wrong answer.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

from memagent.environments.amemgym.assistants.base import ACKNOWLEDGED, Assistant, answer_tokens
from memagent.environments.amemgym.assistants.evolution import Feedback
from memagent.environments.amemgym.assistants.windowed import WindowedAssistant
from memagent.environments.amemgym.baselines import BaselineAssistant
from memagent.environments.amemgym.data import UserItem, UserQuestion, write_json
from memagent.environments.amemgym.error_analysis import MissingValue, ReaderInput, StoredValues, missing_values
from memagent.environments.amemgym.official_format import (
    DIAGNOSIS,
    OVERALL,
    CallResult,
    Matrix,
    Probe,
    Record,
    answer_record,
    bound_record,
    probe_record,
)
from memagent.environments.amemgym.rule_reader import RuleBasedReader, question_prompt, state_prompt
from memagent.environments.amemgym.scoring.diagnosis import diagnose
from memagent.environments.amemgym.scoring.metrics import Accuracies
from memagent.environments.amemgym.scoring.upper_bound import RESULTS, UPPER_BOUND_METRICS, upper_bound
from memagent.errors import InputError, MemAgentError, ModelError, RenderError
from memagent.evaluation.runner import reason
from memagent.models.base import ChatModel
from memagent.models.concurrency import CallPool
from memagent.prompts import ChatPrompt
from memagent.types import Usage, user_message

if TYPE_CHECKING:
    from memagent_renderers.budget import Picture
    from memagent_renderers.ocr.simulated import SimulatedReader

NO_REPLY = "(no reply)"


@dataclass
class UserResult:
    """What one method made of one user, within one budget."""

    accuracy: list[list[float | None]] = field(default_factory=list)
    """[periods][questions]."""
    probes: Matrix[Probe] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    usage: dict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))
    """Of `talk`, `questions`, `probes`, `memory` (writing and evolving) and `user` (a model that plays the user)."""
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """`follow_ups` as `GuardedUser` counts them, `writing` as `WindowedAssistant` does."""
    remembering_seconds: float = 0.0
    talk_tokens: int = 0
    # -- by a model
    records: list[list[Record]] = field(default_factory=list)
    """Official records of the answers, [periods][questions]."""
    # -- by rule
    missing: list[MissingValue] = field(default_factory=list)
    view_tokens: list[int] = field(default_factory=list)
    reading_seconds: float = 0.0
    pictures: list[Picture] = field(default_factory=list)
    """A seeded sample of what the simulated reader read."""


class Answerer(Protocol):
    """Answers for one method and one user."""

    results: dict[int, UserResult]
    """By budget."""

    def reply(self, assistant: Assistant, text: str, *, place: str) -> str:
        """The assistant's reply to a message of the user."""
        ...

    def ask(self, assistant: Assistant, period: int, *, place: str) -> None:
        """The questions of a period, and the probes of the values behind them."""
        ...


# -- a model ----------------------------------------------------------------------------------------------------------


def call(model: ChatModel, prompt: ChatPrompt) -> CallResult:
    """What a model says; a call that failed is no reply."""
    try:
        return CallResult(model.generate(prompt.messages, max_tokens=prompt.max_tokens))
    except ModelError as error:
        return CallResult(None, reason(error))


class ModelAnswerer:
    """Answers by a model. The official files are written to `folder` as they become whole."""

    def __init__(self, item: UserItem, model: ChatModel, *, pool: CallPool, budget: int, folder: Path) -> None:
        self._item, self._model, self._pool, self._folder = item, model, pool, folder
        self.result = UserResult()
        self.results = {budget: self.result}
        self._probes: list[list[Record]] = []

    def reply(self, assistant: Assistant, text: str, *, place: str) -> str:
        said = self._called(self._shown(assistant, text))
        self._note(f"{place}, reply", said)
        self.result.usage["talk"] += said.usage
        return said.text or NO_REPLY

    def ask(self, assistant: Assistant, period: int, *, place: str) -> None:
        item, state = self._item, self._item.periods[period].state
        asked = [question_prompt(one) for one in item.qas]
        probed = [state_prompt(item, one) for one in item.qas]
        said = self._pool.map(self._called, [self._shown(assistant, text) for text in (*asked, *probed)])
        answers, probes = said[: len(asked)], said[len(asked) :]
        for what, calls in (("question", answers), ("probe", probes)):
            for q, one in enumerate(calls):
                self._note(f"{place}, {what} {q}", one)
            self.result.usage[f"{what}s"] += sum((one.usage for one in calls), Usage())
        records = [answer_record(q, state, one) for q, one in zip(item.qas, answers, strict=True)]
        probe_records = [probe_record(item, period, q, probed[q], one) for q, one in enumerate(probes)]
        self.result.records.append(records)
        self.result.accuracy.append([one["scores"]["accuracy"] for one in records])
        self.result.probes.append([Probe.model_validate(one) for one in probe_records])
        self._probes.append(probe_records)
        if isinstance(assistant, WindowedAssistant) and assistant.evolution is not None:
            for record, text in zip(records, asked, strict=True):
                record["relevant_memories"] = assistant.memories(text)
        write_json(self.result.records, self._folder / OVERALL)
        write_json(self._probes, self._folder / DIAGNOSIS)

    def learn(self, assistant: WindowedAssistant, period: int) -> None:
        """Let an assistant that evolves learn from the period's answers. Raises what its model raises."""
        records = self.result.records[period]
        chosen = [None if one["response"] is None else one["response"] - 1 for one in records]
        assistant.learn(Feedback(self._item, period, chosen, [one["relevant_memories"] for one in records]))

    def finish(self) -> None:
        write_json({"accuracy": self.result.accuracy}, self._folder / "overall_metrics.json")
        write_json(diagnose(self.result.probes), self._folder / "diagnosis_metrics.json")

    def _shown(self, assistant: Assistant, text: str) -> ChatPrompt | CallResult:
        """What the model is shown; why it cannot be shown anything."""
        try:
            return assistant.prompt(text)
        except (InputError, RenderError, ModelError) as error:
            return CallResult(None, reason(error))

    def _called(self, shown: ChatPrompt | CallResult) -> CallResult:
        return shown if isinstance(shown, CallResult) else call(self._model, shown)

    def _note(self, place: str, said: CallResult) -> None:
        if said.failure is not None:
            self.result.failures.append(f"{place}: {said.failure}")


# -- rules ------------------------------------------------------------------------------------------------------------


class RuleAnswerer:
    """Answers by rule from views at several budgets. `samples` is how many pictures of each are kept for a comparison."""

    def __init__(self, item: UserItem, *, budgets: Sequence[int], seed: int, samples: dict[int, int]) -> None:
        self._reader = RuleBasedReader(item)
        self._seed, self._samples = seed, samples
        self._draw = Random(f"{seed}:{item.id}:pictures")
        self._seen: dict[int, set[int]] = {budget: set() for budget in budgets}
        self.results = {budget: UserResult() for budget in budgets}

    def reply(self, assistant: Assistant, text: str, *, place: str) -> str:
        return ACKNOWLEDGED

    def ask(self, assistant: Assistant, period: int, *, place: str) -> None:
        stored = StoredValues(self._reader, assistant, period)
        for budget, result in self.results.items():
            began = time.perf_counter()
            accuracy, probes = list[float | None](), list[Probe | None]()
            for q, question in enumerate(self._reader.item.qas):
                answered, known = self._views(assistant, question, budget, f"{place}, question {q}")
                score = 0.0 if answered is None else self._reader.score(answered.read, question, period=period)
                accuracy.append(score)
                probes.append(self._reader.probe(None if known is None else known.read, question, period=period))
                if score != 1.0 and not isinstance(assistant, BaselineAssistant):
                    result.missing += missing_values(self._reader, question, (period, q), answered, stored)
            result.accuracy.append(accuracy)
            result.probes.append(probes)
            result.reading_seconds += time.perf_counter() - began

    def _views(self, assistant: Assistant, question: UserQuestion, budget: int, place: str) -> list[ReaderInput | None]:
        """Of the question and of the values behind it; None for one that could not be made."""
        found: list[ReaderInput | None] = []
        for prompt in (question_prompt(question), state_prompt(self._reader.item, question)):
            try:
                recall = assistant.recall(prompt, budget=budget)
            except MemAgentError as error:
                self.results[budget].failures.append(f"{place}: {reason(error)}")
                found.append(None)
                continue
            text = recall.text or "" if recall.picture is None else self._read(recall.picture, budget)
            found.append(ReaderInput(text, recall.picture, shown=len(recall.sources), dropped=recall.dropped))
            if not isinstance(assistant, BaselineAssistant):
                self.results[budget].view_tokens.append(recall.cost)
        return found

    def _read(self, picture: Picture, budget: int) -> str:
        from memagent_renderers.budget import text_of

        seen, sample, size = self._seen[budget], self.results[budget].pictures, self._samples.get(budget, 0)
        if (digest := hash(picture.png)) not in seen:
            seen.add(digest)
            if len(sample) < size:
                sample.append(picture)
            elif size and (place := self._draw.randrange(len(seen))) < size:
                sample[place] = picture
        return text_of(simulated_reader(self._seed).read(picture))


@lru_cache(maxsize=1)
def simulated_reader(seed: int) -> SimulatedReader:
    """One for all of a process; it reads with the odds of the packaged OCR."""
    from memagent_renderers.legibility_curve import OCR
    from memagent_renderers.ocr.simulated import SimulatedReader

    return SimulatedReader(OCR, seed=seed)


# -- upper bound ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UpperBound:
    """An upper bound, what it cost, and the calls that failed."""

    accuracy: Accuracies
    usage: Usage = field(default_factory=Usage)
    failures: Sequence[str] = ()


def utilization_prompt(question: UserQuestion, option: int) -> str:
    """A question as the upper bound asks it: the values of a 0-based option are told before it."""
    values = dict(zip(question.required_info, question.answer_choices[option].state, strict=True))
    return f"My present situation is this:\n{json.dumps(values, ensure_ascii=False, indent=2)}\n\n{question_prompt(question)}"


def ask_upper_bound(
    items: Sequence[UserItem], model: ChatModel, *, ask: Callable[..., list[CallResult]], folder: Path
) -> UpperBound:
    """Ask a model every question once an option, with that option's values told, and write the official files.

    It depends on the model and the data alone, whatever the memory. `ask(work, units)` gives what the work makes of each unit.
    """
    places = [
        (u, q, k)
        for u, item in enumerate(items)
        for q, question in enumerate(item.qas)
        for k in range(len(question.answer_choices))
    ]
    most = answer_tokens(model)
    prompts = [ChatPrompt([user_message(utilization_prompt(items[u].qas[q], k))], most) for u, q, k in places]
    said = dict(zip(places, ask(lambda prompt: call(model, prompt), prompts), strict=True))
    results = [
        [
            [bound_record(question, k, said[u, q, k]) for k in range(len(question.answer_choices))]
            for q, question in enumerate(item.qas)
        ]
        for u, item in enumerate(items)
    ]
    accuracy = upper_bound(items, results)
    write_json(results, folder / RESULTS)
    write_json({"accuracy": accuracy}, folder / UPPER_BOUND_METRICS)
    failures = [
        f"upper bound, user {items[u].id}, question {q}, option {k}: {one.failure}"
        for (u, q, k), one in said.items()
        if one.failure is not None
    ]
    return UpperBound(accuracy, sum((one.usage for one in said.values()), Usage()), failures)


def rule_upper_bound(items: Sequence[UserItem]) -> UpperBound:
    """What the rule-based reader answers when it is told the present values."""
    found: Accuracies = []
    for item in items:
        reader, oracle = RuleBasedReader(item), BaselineAssistant("oracle", item)
        rows: list[list[float | None]] = []
        for period in range(len(item.periods)):
            oracle.consolidate()
            view = oracle.recall("").text or ""
            rows.append([reader.score(view, question, period=period) for question in item.qas])
        found.append(rows)
    return UpperBound(found)
