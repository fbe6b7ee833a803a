"""`memagent bench amemgym --model M`: assistants with a model on AMemGym users, measured by what the model answers.

Users are procedural or read from an official data file. Every assistant lives through every user, on-policy with a
simulated user (a model, or neutral questions without one) or off-policy on stored conversations. Pairs of assistant and user
run at the same time, and so do the questions of a period, with at most `concurrency` calls at once.

With a folder, the official tree of each assistant is written there, and every reply is kept in a cache beside it: a run that
stopped, wherever and however, is taken up by the same command and pays no reply twice. Work of our own is done again; it
depends on settings and seed alone, so that the files are the same, byte by byte, as those of a run that never stopped.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memagent.environments.amemgym.assistants import build_assistant
from memagent.environments.amemgym.assistants.base import ANSWER_TOKENS, SMALL_ANSWER_TOKENS
from memagent.environments.amemgym.data import Item, check_items, load_items, write_json
from memagent.environments.amemgym.dialogues import Rounds, check_dialogues, interactions_file, read_interactions
from memagent.environments.amemgym.evaluate.bound import ask_bound
from memagent.environments.amemgym.evaluate.estimate import Cost, Lengths, estimate
from memagent.environments.amemgym.evaluate.folder import (
    check_names,
    digest_of,
    folder_name,
    open_folder,
    write_config,
)
from memagent.environments.amemgym.evaluate.method import Method, read_arms
from memagent.environments.amemgym.evaluate.pair import Outcome, Pair
from memagent.environments.amemgym.generate import ValueMatcher, generate_users, preset
from memagent.environments.amemgym.run_report import NAME, Measured, model_report
from memagent.environments.amemgym.scoring.bounds import random_baseline
from memagent.environments.amemgym.simulated_user import GuardedUser, LeakCheck, ModelUser, NeutralUser, named_values
from memagent.errors import InputError
from memagent.evaluation.report import Report, Row, machine_facts
from memagent.models.base import ChatModel
from memagent.models.cached import CachedModel, CallCache
from memagent.models.concurrency import CallPool
from memagent.models.ocr_reader import with_ocr
from memagent.retrieval.embedders.cached import CachedEmbedder, single_threaded_blas
from memagent.store import Store
from memagent.types import Usage

METHODS = ("long_context", "rag", "notes", "memocr", "awe", "awi")
__all__ = ["METHODS", "Settings", "dry_run", "run"]
Say = Callable[[str], None]
Track = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far something is: a label and a total, then what is called with the units just done."""


@dataclass(frozen=True)
class Settings:
    """What shapes a run. Methods are names, or files with an assistant's configuration. `embedder` as in the offline bench."""

    model: str
    user_model: str | None = None
    methods: tuple[str, ...] = METHODS
    budget: int = 1024
    data: Path | None = None
    """An official data file; None: procedural users."""
    users: int | None = None
    """The first of the file, all by default; or how many procedural ones, 20 by default."""
    preset: str = "v1.base"
    seed: int = 42
    embedder: str | None = "auto"
    off_policy: Path | None = None
    """Conversations to replay: `<user>/interactions/period_PP.json`."""
    upper_bound: bool = True
    concurrency: int = 8

    def __post_init__(self) -> None:
        if self.users is not None and self.users < 1:
            raise InputError(f"users is 1 or more, not {self.users}")
        if self.budget < 1:
            raise InputError(f"a budget is 1 token or more, not {self.budget}")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods are one or more, each once, not {', '.join(self.methods) or 'none'}")


@dataclass
class _Run:
    """What all pairs of a run share."""

    settings: Settings
    items: list[Item]
    rounds: Rounds
    methods: list[Method]
    model: ChatModel
    user: ChatModel | None
    limit: CallPool
    embedder: CachedEmbedder | None
    folder: Path


def run(
    settings: Settings,
    *,
    model: ChatModel,
    user: ChatModel | None = None,
    out: Path | None = None,
    say: Say = lambda _: None,
    track: Track | None = None,
) -> Report:
    """Measure. Without `out`, nothing is kept. Raises `ConfigError`, `InputError`, and a `ModelError` that no call escapes."""
    items, rounds = load(settings)
    chosen = read_arms(settings.methods, beside=folder_name(settings.model))
    cost, identity = _estimate(settings, items, rounds, chosen), _identity(settings, items, rounds, chosen)
    with tempfile.TemporaryDirectory() as place, _progress(track, cost) as done:
        folder = out or Path(place)
        open_folder(folder, identity)
        with CallCache(folder) as cache, single_threaded_blas():
            limit = CallPool(settings.concurrency)
            cached = CachedModel(_seeing(model, settings), cache, limit=limit, done=lambda _: done(1))
            other = None if user is None else CachedModel(user, cache, limit=limit, done=lambda _: done(1))
            shared = _Run(settings, items, rounds, chosen, cached, other, limit, _embedder(settings), folder)
            measured = _measure(shared)
            facts = {
                "settings": identity,
                "scored_by": f"the answers of {settings.model}; not to be compared with those of the answer probe",
                "conversations": "replayed"
                if settings.off_policy
                else f"held with {settings.user_model or 'neutral questions'}",
                "paid": cache.total().model_dump(),
                **machine_facts(),
            }
            report = model_report(items, measured, seed=settings.seed, facts=facts)
            say(f"{cache.paid} calls made, {cache.hits} answered from {cache.path if out else 'the cache of this run'}")
        if out is not None:
            report.save(out)
    return report


def dry_run(settings: Settings, *, prices: tuple[float, float] | None = None) -> Report:
    """What the run would cost: calls and tokens, and with prices per million tokens in and out the sum. Loads no model."""
    items, rounds = load(settings)
    chosen = read_arms(settings.methods, beside=folder_name(settings.model))
    rows: list[Row] = []
    costs = _estimate(settings, items, rounds, chosen)
    for method, cost in {**costs, "total": sum(costs.values(), Cost())}.items():
        values: dict[str, float] = asdict(cost)
        if prices is not None:
            values["cost"] = cost.price(*prices)
        rows += [Row(method=method, metric=name, value=value, n=len(items)) for name, value in values.items()]
    facts = {
        "assumed_tokens": asdict(Lengths()),
        "prices_per_million": prices,
        "settings": _identity(settings, items, rounds, chosen),
    }
    return Report(name=f"{NAME}-dry-run", rows=rows, meta=facts)


# -- what is run ------------------------------------------------------------------------------------------------------


def load(settings: Settings) -> tuple[list[Item], Rounds]:
    """The users of a run, and how long sessions are. Raises `InputError` for data that cannot be scored."""
    generator = preset(settings.preset)
    rounds = Rounds(generator.num_rounds_init, generator.num_rounds_update)
    if settings.data is None:
        return generate_users(settings.users or 20, settings=generator, seed=settings.seed), rounds
    items = load_items(settings.data)[: settings.users]
    if unscored := [one for one in check_items(items) if one.rule == "I7"]:
        raise InputError(f"{settings.data} cannot be scored: {unscored[0]}; mend it, or leave that user out")
    check_names(items)
    return items, rounds


def _identity(settings: Settings, items: Sequence[Item], rounds: Rounds, chosen: Sequence[Method]) -> dict[str, Any]:
    """What makes two runs the same one."""
    talk = None if settings.off_policy is None else _stored(settings.off_policy, items, rounds)
    return {
        "model": settings.model,
        "user_model": settings.user_model,
        "budget": settings.budget,
        "preset": settings.preset,
        "seed": settings.seed,
        "embedder": _embedder_name(settings),
        "off_policy": talk,
        "upper_bound": settings.upper_bound,
        "users": len(items),
        "data": digest_of(items),
        "methods": {method.name: method.public(settings.model, settings.budget) for method in chosen},
    }


def _stored(folder: Path, items: Sequence[Item], rounds: Rounds) -> str:
    """A digest of stored conversations. Raises `InputError` where they are not of these users."""
    found = hashlib.sha256()
    for item in items:
        for number, period in enumerate(item.periods):
            dialogues = read_interactions(folder, item.id, number)
            try:
                check_dialogues(dialogues, period=period, rounds=rounds.of(number))
            except InputError as error:
                raise InputError(f"{interactions_file(folder, item.id, number)}: {error}") from error
            found.update(json.dumps([[one.model_dump() for one in dialogue] for dialogue in dialogues]).encode())
    return found.hexdigest()


def _embedder_name(settings: Settings) -> str | None:
    from memagent.retrieval.embedders.registry import resolve_embedder

    return resolve_embedder(settings.embedder)


def _embedder(settings: Settings) -> CachedEmbedder | None:
    from memagent.retrieval.embedders.registry import load_embedder

    name = _embedder_name(settings)
    return None if name is None else CachedEmbedder(load_embedder(name), one_by_one=True)


def _seeing(model: ChatModel, settings: Settings) -> ChatModel:
    """The model, with an OCR reader before it where pictures are shown to one that cannot see."""
    return with_ocr(model) if "memocr" in settings.methods else model


def _estimate(
    settings: Settings,
    items: Sequence[Item],
    rounds: Rounds,
    chosen: Sequence[Method],
) -> dict[str, Cost]:
    return estimate(
        items,
        {method.name: method.plan(settings.budget) for method in chosen},
        rounds=rounds,
        user_model=settings.user_model is not None,
        bound=settings.upper_bound,
        source=settings.off_policy,
    )


@contextmanager
def _progress(track: Track | None, cost: Mapping[str, Cost]) -> Iterator[Callable[[int], None]]:
    if track is None:
        yield lambda _done: None
        return
    with track("calls", sum(one.calls for one in cost.values())) as done:
        yield done


# -- running ----------------------------------------------------------------------------------------------------------


def _measure(shared: _Run) -> Measured:
    """Let every method live through every user, then ask for the upper bound."""
    for method in shared.methods:
        write_config(method.public(shared.settings.model, shared.settings.budget), shared.folder / method.name, shared.items)
    pairs = [(method, item) for item in shared.items for method in shared.methods]
    lives = shared.limit.map(lambda one: _live(shared, *one), pairs)
    by_method = {method.name: lives[k :: len(shared.methods)] for k, method in enumerate(shared.methods)}
    write_json({"accuracy": random_baseline(shared.items)}, shared.folder / "random.json")
    if not shared.settings.upper_bound:
        return Measured(by_method)
    place = shared.folder / folder_name(shared.settings.model)
    most = SMALL_ANSWER_TOKENS if shared.model.small else ANSWER_TOKENS
    return Measured(by_method, ask_bound(shared.items, shared.model, limit=shared.limit, max_tokens=most, folder=place))


def _live(shared: _Run, method: Method, item: Item) -> Outcome:
    """One pair, in a store of its own."""
    settings = shared.settings
    player = None if shared.user is None else ModelUser(shared.user, seed=settings.seed)
    user = GuardedUser(player or NeutralUser(seed=settings.seed), _leaks(settings), seed=settings.seed)
    with tempfile.TemporaryDirectory() as place, Store(place, embedder=shared.embedder) as store:
        assistant = build_assistant(method.what, store=store, item=item, model=shared.model, budget=settings.budget)
        outcome = Pair(
            item,
            assistant,
            user,
            rounds=shared.rounds,
            limit=shared.limit,
            folder=shared.folder / method.name,
            source=settings.off_policy,
        ).live()
    outcome.follow_ups, outcome.user = user.counts, Usage() if player is None else player.usage
    return outcome


def _leaks(settings: Settings) -> Callable[[Item], LeakCheck]:
    """What no follow-up may say: values by their names, and of procedural users hints of them too."""

    def checks(item: Item) -> LeakCheck:
        named = named_values(item)
        if settings.data is not None:
            return named
        matcher = ValueMatcher(item.state_schema)
        return lambda text: matcher.hinted(text) | named(text)

    return checks
