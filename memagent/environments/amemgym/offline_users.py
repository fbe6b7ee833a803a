"""One procedural user as every method of `memagent bench amemgym` lives through it; users are independent of one another.

Each user has an embedder's memo of its own and each of its methods a store of its own: what an method scores depends neither on
other users and methods (a store weighs words by all that it holds) nor on how many processes share the work. After each period
an method gives a view for every question and for the values behind it, at every budget, and the answer probe reads them. A view
that could not be made counts as a wrong answer.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from memagent.environments.amemgym.assistants import Assistant, AweAssistant, AwiAssistant, KeywordAssistant, MemoryAssistant
from memagent.environments.amemgym.baselines import REFERENCES
from memagent.environments.amemgym.data import Item, Session
from memagent.environments.amemgym.dialogues import Rounds, run_dialogues, write_interactions
from memagent.environments.amemgym.error_analysis import MissingValue, ReaderInput, StoredValues, missing_values
from memagent.environments.amemgym.generate import ValueMatcher
from memagent.environments.amemgym.official_format import Matrix, Probe
from memagent.environments.amemgym.rule_reader import RuleBasedReader, question_prompt, state_prompt
from memagent.environments.amemgym.simulated_user import GuardedUser, LeakCheck, NeutralUser, named_values
from memagent.errors import InputError, MemAgentError, UnknownName
from memagent.retrieval.embedders.cached import CachedEmbedder
from memagent.store import Store
from memagent_renderers.budget import estimate_tokens

if TYPE_CHECKING:
    from memagent.retrieval.embedders.base import Embedder
    from memagent_renderers.budget import Picture
    from memagent_renderers.ocr.simulated import SimulatedReader

MEMORIES = ("long_context", "rag", "notes", "memocr")
WINDOWED = ("awe", "awi")
METHODS = (*MEMORIES, *WINDOWED, *REFERENCES)
"""Those of a run when nobody chooses."""
KEYWORD = "keyword"
"""A yardstick on demand: it keeps what the generator's own words give away, so it is no rival of memories."""
BUDGETS = (1024, 256, 64)
CHECKED_READS = 100
"""Pictures that the real eye reads too."""


@dataclass(frozen=True)
class Settings:
    """What shapes a run. `embedder` is a name, "auto" for the best installed, or None; `workers` None: one a core."""

    users: int = 20
    preset: str = "v1.base"
    budgets: tuple[int, ...] = BUDGETS
    seed: int = 42
    methods: tuple[str, ...] = METHODS
    embedder: str | None = "auto"
    checked_reads: int = CHECKED_READS
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.users < 1:
            raise InputError(f"users is 1 or more, not {self.users}")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers is 1 or more, not {self.workers}")
        if not self.budgets or min(self.budgets) < 1 or len(set(self.budgets)) < len(self.budgets):
            raise InputError(f"budgets are tokens, 1 or more each and each once, such as 1024, not {self.budgets}")
        if unknown := [method for method in self.methods if method not in (*METHODS, KEYWORD)]:
            raise UnknownName(f"there is no method {unknown[0]!r}; there are {', '.join((*METHODS, KEYWORD))}")


@dataclass
class Scores:
    """What one method made of one user within one budget."""

    accuracy: list[list[float | None]] = field(default_factory=list)
    """[periods][questions]."""
    probes: Matrix[Probe] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    """Tokens of each view."""
    seconds: float = 0.0
    """For making and reading the views."""
    failures: list[str] = field(default_factory=list)
    losses: list[MissingValue] = field(default_factory=list)


@dataclass
class Life:
    """What every method made of one user."""

    scores: dict[tuple[int, str], Scores]
    """By budget and method."""
    pictures: dict[int, list[Picture]]
    """By budget, a seeded sample of what the calibrated eye read, each picture once."""
    remembering: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds by method."""
    history: Counter[str] = field(default_factory=Counter)
    """Tokens of the whole talk by method."""
    openings: Counter[str] = field(default_factory=Counter)
    follow_ups: Counter[str] = field(default_factory=Counter)


def live(item: Item, settings: Settings, rounds: Rounds, out: Path | None = None) -> Life:
    """All periods of one user with every method. With `out`, the conversations are kept there."""
    return _Living(item, settings, rounds, out).life()


class _Living:
    """Lets every method live through one user."""

    def __init__(self, item: Item, settings: Settings, rounds: Rounds, out: Path | None) -> None:
        self._item, self._settings, self._rounds, self._out = item, settings, rounds, out
        self._embedder = _remembering(settings.embedder)
        self._reader, self._matcher = RuleBasedReader(item), ValueMatcher(item.state_schema)
        self._user = GuardedUser(NeutralUser(seed=settings.seed), _leaks, seed=settings.seed)
        self._eye = _Eye(item, settings) if "memocr" in settings.methods else None
        scores = {(budget, method): Scores() for budget in settings.budgets for method in settings.methods}
        self._life = Life(scores, {} if self._eye is None else self._eye.samples)

    def life(self) -> Life:
        """Live it."""
        for period in self._item.periods:
            self._life.openings.update(_opening(session, self._matcher) for session in period.sessions)
        for method in self._settings.methods:
            with tempfile.TemporaryDirectory() as folder, Store(folder, embedder=self._embedder) as store:
                assistant = None if method in REFERENCES else self._assistant(method, store)
                for number in range(len(self._item.periods)):
                    self._period(method, assistant, number)
        self._life.follow_ups = self._user.counts
        return self._life

    def _assistant(self, method: str, store: Store) -> Assistant:
        if method == "awe":
            return AweAssistant(embedder=self._embedder)
        if method == "awi":
            return AwiAssistant()
        if method == KEYWORD:
            return KeywordAssistant(_told(self._matcher))
        return MemoryAssistant(store.memory(method, user=self._item.id))

    def _period(self, method: str, assistant: Assistant | None, period: int) -> None:
        item, life = self._item, self._life
        if assistant is not None:
            began = time.perf_counter()
            dialogues = run_dialogues(item, period, assistant, self._user, rounds=self._rounds)
            assistant.settle()
            life.remembering[method] += time.perf_counter() - began
            life.history[method] += sum(estimate_tokens(one.content) for dialogue in dialogues for one in dialogue)
            if self._out is not None:
                write_interactions(dialogues, self._out / method, item.id, period)
        kept = StoredValues(self._reader, assistant, period)
        for budget in self._settings.budgets:
            began = time.perf_counter()
            self._ask(life.scores[budget, method], method, assistant, kept, period, budget)
            life.scores[budget, method].seconds += time.perf_counter() - began

    def _ask(
        self, scores: Scores, method: str, assistant: Assistant | None, kept: StoredValues, period: int, budget: int
    ) -> None:
        """The questions of a period, and the probes of the values behind them."""
        reader = self._reader
        accuracy: list[float | None] = []
        probes: list[Probe | None] = []
        for q, question in enumerate(self._item.qas):
            views: list[ReaderInput | None] = []
            for prompt in (question_prompt(question), state_prompt(self._item, question)):
                try:
                    views.append(self._view(scores, method, assistant, period, prompt, budget))
                except MemAgentError as error:
                    views.append(None)
                    scores.failures.append(
                        f"user {reader.item.id}, period {period}, question {q}: {type(error).__name__}: {error}"
                    )
            answered, known = views
            accuracy.append(0.0 if answered is None else reader.score(answered.read, question, period=period))
            probes.append(reader.probe(None if known is None else known.read, question, period=period))
            if assistant is not None and accuracy[-1] != 1.0:
                scores.losses += missing_values(reader, question, (period, q), answered, kept)
        scores.accuracy.append(accuracy)
        scores.probes.append(probes)

    def _view(
        self, scores: Scores, method: str, assistant: Assistant | None, period: int, prompt: str, budget: int
    ) -> ReaderInput:
        if assistant is None:
            return ReaderInput(REFERENCES[method](self._item, period))
        recall = assistant.recall(prompt, budget=budget)
        scores.costs.append(recall.cost)
        if recall.picture is None:
            return ReaderInput(recall.text or "", shown=len(recall.sources), dropped=recall.dropped)
        assert self._eye is not None
        read = self._eye.read(recall.picture, budget)
        return ReaderInput(read, recall.picture, shown=len(recall.sources), dropped=recall.dropped)


class _Eye:
    """A calibrated eye, and a seeded sample of the pictures that it read for one user."""

    def __init__(self, item: Item, settings: Settings) -> None:
        self._eye = calibrated(settings.seed)
        self._draw = Random(f"{settings.seed}:{item.id}:pictures")
        self._size = {budget: -(-share // settings.users) for budget, share in shares(settings).items()}
        self._seen: dict[int, set[int]] = {budget: set() for budget in settings.budgets}
        self.samples: dict[int, list[Picture]] = {budget: [] for budget in settings.budgets}

    def read(self, picture: Picture, budget: int) -> str:
        """The words of a picture that could be read."""
        from memagent_renderers.budget import text_of

        seen, sample, size = self._seen[budget], self.samples[budget], self._size[budget]
        if (digest := hash(picture.png)) not in seen:
            seen.add(digest)
            if len(sample) < size:
                sample.append(picture)
            elif (place := self._draw.randrange(len(seen))) < size:
                sample[place] = picture
        return text_of(self._eye.read(picture))


def shares(settings: Settings) -> dict[int, int]:
    """Pictures of each budget for the real eye, fewer of large ones, which take it longer: about equal time for each."""
    weights = [budget**-0.5 for budget in settings.budgets]
    ends = [round(settings.checked_reads * sum(weights[: k + 1]) / sum(weights)) for k in range(len(weights))]
    return {budget: end - begin for budget, begin, end in zip(settings.budgets, [0, *ends], ends, strict=False)}


def calibrated(seed: int) -> SimulatedReader:
    """The eye that reads all pictures of a run."""
    from memagent_renderers.legibility_curve import OCR
    from memagent_renderers.ocr.simulated import SimulatedReader

    return SimulatedReader(OCR, seed=seed)


# -- parts ------------------------------------------------------------------------------------------------------------


def _leaks(item: Item) -> LeakCheck:
    matcher, named = ValueMatcher(item.state_schema), named_values(item)
    return lambda text: matcher.hinted(text) | named(text)


def _opening(session: Session, matcher: ValueMatcher) -> str:
    """Whether an opening gives away exactly what it should."""
    said = {name: {value} for name, value in session.exposed_states.items()}
    exact = matcher.exposed(session.query) == said and matcher.hinted(session.query) == said.keys()
    return "exact" if exact else "inexact"


def _told(matcher: ValueMatcher) -> Callable[[str], dict[str, str]]:
    """The values that a text gives away, without those about which it contradicts itself."""
    return lambda text: {name: min(values) for name, values in matcher.exposed(text).items() if len(values) == 1}


def _remembering(embedder: str | None) -> CachedEmbedder | None:
    from memagent.retrieval.embedders.registry import resolve_embedder

    name = resolve_embedder(embedder)
    return None if name is None else CachedEmbedder(_embedder(name))


@lru_cache(maxsize=1)
def _embedder(name: str) -> Embedder:
    """One for all users of a process: loading takes longer than many of them."""
    from memagent.retrieval.embedders.registry import load_embedder

    return load_embedder(name)
