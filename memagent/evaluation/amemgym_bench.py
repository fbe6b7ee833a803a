"""`memagent bench amemgym --offline`: kinds of memory on AMemGym users, without any model.

Users are procedural, follow-ups are neutral questions, assistants only acknowledge. After each period every arm gives, for
each question and for the values behind it, a view of at most B tokens: text tokens, or visual ones of a picture that a
calibrated eye reads. The answer probe (`memagent.environments.amemgym.probe`) reads the views: it tells what reaches a
reader, not what a model makes of it, so these scores stand apart from those of models. `awe` and `awi`, which know no budget
as published, are cut to it.

`accuracy` and the three failure rates add up to 1 in each period. A view that could not be made counts as a wrong answer.
Intervals draw whole users. Wherever a calibrated eye read, the real one reads a seeded sample of pictures again.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from statistics import mean
from typing import TYPE_CHECKING, Any

from memagent.environments.amemgym.assistants import Assistant, AweAssistant, AwiAssistant, MemoryAssistant
from memagent.environments.amemgym.bounds import METRIC_OF_RULE, RULES, Accuracies, memory_score, random_baseline
from memagent.environments.amemgym.curves import DRAWS, pooled_rows
from memagent.environments.amemgym.data import Item, Session
from memagent.environments.amemgym.diagnosis import RATES, diagnose_all, failure_rates
from memagent.environments.amemgym.generate import CueMatcher, generate_users, preset
from memagent.environments.amemgym.interaction import Rounds, converse, write_interactions
from memagent.environments.amemgym.probe import ViewReader, question_prompt, state_prompt
from memagent.environments.amemgym.references import REFERENCES, oracle_view
from memagent.environments.amemgym.results import Matrix, Probe
from memagent.environments.amemgym.simulated_user import GuardedUser, LeakCheck, NeutralUser, named_values
from memagent.errors import InputError, MemAgentError, UnknownName
from memagent.evaluation.report import Report, Row, machine_facts
from memagent.memory.results import Recall
from memagent.store.store import Store
from renderers.reader import estimate_tokens

if TYPE_CHECKING:
    from memagent.retrieval.embedder import Embedder, Vectors
    from renderers.reader import Picture

MEMORIES = ("long_context", "rag", "notes", "memocr")
WINDOWED = ("awe", "awi")
ARMS = (*MEMORIES, *WINDOWED, *REFERENCES)
CHECKED_READS = 100
"""Pictures that the real eye reads too."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What shapes a run. `embedder` is a name, "auto" for the best installed, or None."""

    users: int = 20
    preset: str = "v1.base"
    budgets: tuple[int, ...] = (1024,)
    seed: int = 42
    arms: tuple[str, ...] = ARMS
    embedder: str | None = "auto"
    checked_reads: int = CHECKED_READS

    def __post_init__(self) -> None:
        if self.users < 1:
            raise InputError(f"users is 1 or more, not {self.users}")
        if not self.budgets or min(self.budgets) < 1:
            raise InputError(f"budgets are tokens, 1 or more each, such as 1024, not {self.budgets}")
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            raise UnknownName(f"there is no arm {unknown[0]!r}; there are {', '.join(ARMS)}")


@dataclass
class Table:
    """What one arm scored within one budget."""

    accuracy: Accuracies = field(default_factory=list)
    probes: dict[str, Matrix[Probe]] = field(default_factory=dict)
    costs: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """For making and reading the views."""
    failures: list[str] = field(default_factory=list)


def run(settings: Settings, *, out: Path | None = None, say: Say = lambda _: None) -> list[Report]:
    """Measure; a report for each budget. With `out`, the conversations are kept there. Raises `MissingExtra`, `InputError`."""
    began = time.perf_counter()
    generator = preset(settings.preset)
    items = generate_users(settings.users, settings=generator, seed=settings.seed)
    rounds = Rounds(generator.num_rounds_init, generator.num_rounds_update)
    with _store(settings.embedder) as store:
        bench = _Bench(settings, store, rounds, out)
        for number, item in enumerate(items, 1):
            say(f"user {number} of {len(items)}")
            bench.live(item)
    checked = bench.agreement(say)
    facts = {
        "settings": asdict(settings),
        "read_by": "the answer probe, without a model; not to be compared with scores of models",
        "users": len(items),
        "draws": DRAWS,
        "rules": {METRIC_OF_RULE[rule]: rule for rule in RULES},
        "talk": bench.talk(),
        "eye_agreement": checked,
        "remembering_seconds": {arm: round(seconds, 1) for arm, seconds in bench.remembering.items()},
        "seconds": round(time.perf_counter() - began, 1),
        **machine_facts(),
    }
    return [_report(items, bench.tables[budget], budget, settings, facts) for budget in settings.budgets]


class _Bench:
    """Lets every arm live through every user."""

    def __init__(self, settings: Settings, store: Store, rounds: Rounds, out: Path | None) -> None:
        self._settings, self._store, self._rounds, self._out = settings, store, rounds, out
        self._eye = _Eye(settings) if "memocr" in settings.arms else None
        self._user = GuardedUser(NeutralUser(seed=settings.seed), _leaks, seed=settings.seed)
        self._openings: Counter[str] = Counter()
        self.tables = {budget: {arm: Table() for arm in settings.arms} for budget in settings.budgets}
        self.remembering: dict[str, float] = defaultdict(float)
        self._history: Counter[str] = Counter()

    def live(self, item: Item) -> None:
        """All periods of one user."""
        reader, matcher = ViewReader(item), CueMatcher(item.state_schema)
        for period in item.periods:
            self._openings.update(_opening_counts(session, matcher) for session in period.sessions)
        for arm in self._settings.arms:
            assistant = None if arm in REFERENCES else self._assistant(arm, item)
            for tables in self.tables.values():
                tables[arm].accuracy.append([])
                tables[arm].probes[item.id] = []
            for number in range(len(item.periods)):
                self._period(arm, assistant, reader, number)

    def _assistant(self, arm: str, item: Item) -> Assistant:
        if arm == "awe":
            return AweAssistant(embedder=self._store.embedder())
        if arm == "awi":
            return AwiAssistant()
        return MemoryAssistant(self._store.memory(arm, user=f"{arm} {item.id}"))

    def _period(self, arm: str, assistant: Assistant | None, reader: ViewReader, period: int) -> None:
        item = reader.item
        if assistant is not None:
            began = time.perf_counter()
            dialogues = converse(item, period, assistant, self._user, rounds=self._rounds)
            assistant.settle()
            self.remembering[arm] += time.perf_counter() - began
            self._history[arm] += sum(estimate_tokens(one.content) for dialogue in dialogues for one in dialogue)
            if self._out is not None:
                write_interactions(dialogues, self._out / arm, item.id, period)
        for budget, tables in self.tables.items():
            began = time.perf_counter()
            self._ask(tables[arm], arm, assistant, reader, period, budget)
            tables[arm].seconds += time.perf_counter() - began

    def _ask(self, table: Table, arm: str, assistant: Assistant | None, reader: ViewReader, period: int, budget: int) -> None:
        """The questions of a period, and the probes of the values behind them."""
        item = reader.item
        scores: list[float | None] = []
        probes: list[Probe | None] = []
        for q, question in enumerate(item.qas):
            views: list[str | None] = []
            for prompt in (question_prompt(question), state_prompt(item, question)):
                try:
                    views.append(self._view(table, arm, assistant, item, period, prompt, budget))
                except MemAgentError as error:
                    views.append(None)
                    table.failures.append(f"user {item.id}, period {period}, question {q}: {type(error).__name__}: {error}")
            answered, known = views
            scores.append(0.0 if answered is None else reader.score(answered, question, period=period))
            probes.append(reader.probe(known, question, period=period))
        table.accuracy[-1].append(scores)
        table.probes[item.id].append(probes)

    def _view(
        self, table: Table, arm: str, assistant: Assistant | None, item: Item, period: int, prompt: str, budget: int
    ) -> str:
        if assistant is None:
            return REFERENCES[arm](item, period)
        recall = assistant.recall(prompt, budget=budget)
        table.costs.append(recall.cost)
        return self._read(recall)

    def _read(self, recall: Recall) -> str:
        if recall.picture is None:
            return recall.text or ""
        assert self._eye is not None
        return self._eye.read(recall.picture)

    def agreement(self, say: Say) -> dict[str, Any] | None:
        """How the calibrated eye compares with the real one; None where no picture was read."""
        return None if self._eye is None else self._eye.agreement(say)

    def talk(self) -> dict[str, Any]:
        """What was said, and what of it gave away more than it should."""
        tokens = {arm: round(total / self._settings.users) for arm, total in self._history.items()}
        return {"openings": dict(self._openings), "follow_ups": dict(self._user.counts), "tokens_per_user": tokens}


class _Eye:
    """A calibrated eye, and a seeded sample of what it read."""

    def __init__(self, settings: Settings) -> None:
        from memagent.evaluation.readings import EYES
        from renderers.acuity import OCR
        from renderers.eyes.calibrated import CalibratedEye

        EYES["ocr"]()  # what is not installed is told now, not when everything is done
        self._eye = CalibratedEye(OCR, seed=settings.seed)
        self._draw, self._size, self._seen = Random(settings.seed), settings.checked_reads, 0
        self._sample: list[Picture] = []

    def read(self, picture: Picture) -> str:
        """The words of a picture that could be read."""
        from renderers.reader import text_of

        self._seen += 1
        if len(self._sample) < self._size:
            self._sample.append(picture)
        elif (place := self._draw.randrange(self._seen)) < self._size:
            self._sample[place] = picture
        return text_of(self._eye.read(picture))

    def agreement(self, say: Say) -> dict[str, Any] | None:
        """Read the sample with the real eye, in all cores."""
        from memagent.evaluation.readings import PatientEye, Readers
        from renderers.eyes.calibrated import agreement

        if not self._sample:
            return None
        say(f"reading {len(self._sample)} pictures with the real eye, to compare")
        with Readers("ocr") as real:
            for picture in self._sample:
                real.read(picture)
            return asdict(agreement(self._sample, PatientEye(real), self._eye))


# -- numbers ----------------------------------------------------------------------------------------------------------


def _report(items: Sequence[Item], tables: dict[str, Table], budget: int, settings: Settings, facts: dict[str, Any]) -> Report:
    chance, upper, seed = random_baseline(items), upper_bound(items), settings.seed
    rows: list[Row] = []
    undefined: dict[str, int] = {}
    for arm, table in tables.items():
        rows += pooled_rows(arm, "accuracy", table.accuracy, seed=seed)
        for rule in RULES:
            score = memory_score(table.accuracy, chance, upper, rule=rule, seed=seed)
            rows += score.rows(arm)
            undefined[f"{arm}/{METRIC_OF_RULE[rule]}"] = score.undefined
        by_user = dict(zip((item.id for item in items), table.accuracy, strict=True))
        rates = failure_rates(diagnose_all(table.probes), by_user)
        for name in RATES:
            rows += pooled_rows(arm, name, getattr(rates, name), seed=seed)
    own = {
        "budget": budget,
        "undefined": undefined,
        "view_tokens_mean": {arm: round(mean(table.costs), 1) for arm, table in tables.items() if table.costs},
        "reading_seconds": {arm: round(table.seconds, 1) for arm, table in tables.items()},
        "failures": {arm: {"count": len(table.failures), "first": table.failures[:5]} for arm, table in tables.items()},
    }
    return Report(name="amemgym", rows=rows, meta={**own, **facts})


def upper_bound(items: Sequence[Item]) -> Accuracies:
    """What the probe answers when it is told the present values."""
    found: Accuracies = []
    for item in items:
        reader = ViewReader(item)
        found.append(
            [
                [reader.score(oracle_view(item, period), question, period=period) for question in item.qas]
                for period in range(len(item.periods))
            ]
        )
    return found


def headline(report: Report) -> list[Row]:
    """The rows of means, which a terminal has room for."""
    return [row for row in report.rows if row.at == "mean" and row.metric != METRIC_OF_RULE["user_period"]]


# -- parts ------------------------------------------------------------------------------------------------------------


def _leaks(item: Item) -> LeakCheck:
    matcher, named = CueMatcher(item.state_schema), named_values(item)
    return lambda text: matcher.hinted(text) | named(text)


def _opening_counts(session: Session, matcher: CueMatcher) -> str:
    """Whether an opening gives away exactly what it should."""
    said = {name: {value} for name, value in session.exposed_states.items()}
    exact = matcher.exposed(session.query) == said and matcher.hinted(session.query) == said.keys()
    return "exact" if exact else "inexact"


class _Remembering:
    """An embedder that embeds each text once."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.id = inner.id
        self._known: dict[str, Any] = {}

    @property
    def dimension(self) -> int:
        """That of the embedder inside."""
        return self._inner.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A row for each text."""
        import numpy as np

        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._inner.embed(new), strict=True))
        rows: Vectors = np.stack([self._known[text] for text in texts])
        return rows


@contextmanager
def _store(embedder: str | None) -> Iterator[Store]:
    from memagent.retrieval.registry import default_embedder_name, load_embedder

    name = default_embedder_name() if embedder == "auto" else embedder
    chosen = None if name is None else _Remembering(load_embedder(name))
    with tempfile.TemporaryDirectory() as folder, Store(folder, embedder=chosen) as store:
        yield store
