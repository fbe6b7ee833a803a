"""`memagent bench amemgym`: methods of keeping a memory on AMemGym users, measured by what is answered from it.

Users are procedural or read from an official data file. Every method goes through every user, in a store of its own: what it
scores depends neither on other users and methods nor on how many are run at once. It talks on-policy with a simulated user (a
model, or neutral questions without one), or replays stored conversations. Then a model answers, or, `offline`, rules read the
views of the memories (`memagent.environments.amemgym.rule_reader`): they tell what reaches a reader within a budget, not what a
model makes of it, so their scores stand apart from those of models.

A run by a model writes the official tree of each method and keeps every reply in a cache beside it: a run that stopped,
wherever and however, is taken up by the same command and pays no reply twice. Work of our own is done again; it depends on
settings and seed alone, so that the files are the same, byte by byte, as those of a run that never stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from memagent.environments.amemgym import report as reports
from memagent.environments.amemgym.answerers import (
    Answerer,
    ModelAnswerer,
    RuleAnswerer,
    UserResult,
    ask_upper_bound,
    rule_upper_bound,
    simulated_reader,
)
from memagent.environments.amemgym.baselines import SHOWN, random_baseline
from memagent.environments.amemgym.data import UserItem, load_items, write_json
from memagent.environments.amemgym.dialogues import Rounds, check_dialogues, interactions_file, read_interactions
from memagent.environments.amemgym.estimate import Cost, Lengths, estimate_run
from memagent.environments.amemgym.generate import ValueMatcher, generate_users, preset
from memagent.environments.amemgym.methods import BASELINES, Method, read_methods
from memagent.environments.amemgym.run_folder import check_names, digest_of, model_folder, open_folder, plain_name, write_config
from memagent.environments.amemgym.simulated_user import GuardedUser, LeakCheck, ModelUser, NeutralUser, named_values
from memagent.environments.amemgym.user_run import UserRun
from memagent.environments.amemgym.validate import check_items
from memagent.errors import InputError
from memagent.evaluation.report import Report, Row, machine_facts
from memagent.evaluation.runner import SILENT, Progress, RunSettings, in_processes, open_run
from memagent.models.base import ChatModel
from memagent.models.ocr_reader import with_ocr
from memagent.retrieval.embedders.cached import CachedEmbedder, single_threaded_blas
from memagent.store import Store

if TYPE_CHECKING:
    from memagent_renderers.budget import Picture

METHODS = ("long_context", "rag", "notes", "memocr", "awe", "awi")
"""Those of a run when nobody chooses; offline also the baselines `oracle`, `stale` and `random`."""
BUDGETS = (1024, 256, 64)
"""Of a run by rule; a run by a model has the first."""


@dataclass(frozen=True, kw_only=True)
class AmemgymSettings(RunSettings):
    """What shapes a run. Methods are names, or files with an assistant's configuration; budgets bound the views of memories."""

    model: str | None = None
    """Answers, and replies in the conversations. None: rules read the views."""
    user_model: str | None = None
    """Plays the user. None: neutral questions."""
    methods: tuple[str, ...] = ()
    budgets: tuple[int, ...] = ()
    data: Path | None = None
    """An official data file; None: procedural users."""
    preset: str = "v1.base"
    seed: int = 42
    off_policy: Path | None = None
    """Conversations to replay: `<user>/interactions/period_PP.json`."""
    upper_bound: bool = True
    """Ask a model for the upper bound, on which memory scores rest."""
    concurrency: int = 8
    workers: int | None = None
    """Processes of a run by rule; None: one a core."""
    compare_ocr: int = 0
    """Pictures that the real OCR reads too, once the reports of a run by rule are made, to compare the simulated one with
    it."""

    def __post_init__(self) -> None:
        offline = self.model is None
        if not self.methods:
            object.__setattr__(self, "methods", (*METHODS, *SHOWN) if offline else METHODS)
        if not self.budgets:
            object.__setattr__(self, "budgets", BUDGETS if offline else BUDGETS[:1])
        super().__post_init__()
        self.check_positive("workers")
        if min(self.budgets) < 1 or len(set(self.budgets)) < len(self.budgets):
            raise InputError(f"budgets are tokens, 1 or more each and each once, such as 1024, not {self.budgets}")
        if offline:
            for name in ("user_model", "data", "off_policy"):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name.replace('_', '-')} is for a run with a model; name one with --model")
        elif len(self.budgets) > 1:
            raise InputError("a run with a model has one budget; give the others runs and folders of their own")
        elif given := [name for name in self.methods if name in BASELINES]:
            raise InputError(
                f"{given[0]} is for a run by rule; reports of a run with a model have random and stale without asking"
            )
        elif self.compare_ocr:
            raise InputError("--compare-ocr is for --offline, where a simulated reader reads the pictures")


def run(
    settings: AmemgymSettings,
    *,
    model: ChatModel | None = None,
    user: ChatModel | None = None,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> list[Report]:
    """Measure; a report for each budget, saved in `out` as soon as it is made. Without `out`, nothing is kept.

    Raises `ConfigError`, `InputError`, `MissingExtra`, and a `ModelError` that no call escapes.
    """
    items, rounds = load(settings)
    methods = read_methods(settings.methods, reserved=None if settings.model is None else model_folder(settings.model).parts[0])
    if model is None:
        return _run_by_rule(settings, items, rounds, methods, out, progress)
    return [_run_by_model(settings, items, rounds, methods, model, user, out, progress)]


def dry_run(settings: AmemgymSettings, *, prices: tuple[float, float] | None = None) -> Report:
    """What the run would cost: calls and tokens, and with prices per million tokens in and out the sum. Loads no model."""
    items, rounds = load(settings)
    methods = read_methods(settings.methods)
    costs = _estimate(settings, items, rounds, methods)
    rows: list[Row] = []
    for name, cost in {**costs, "total": sum(costs.values(), Cost())}.items():
        values: dict[str, float] = asdict(cost)
        if prices is not None:
            values["cost"] = cost.price(*prices)
        rows += [Row(method=name, metric=metric, value=value, n=len(items)) for metric, value in values.items()]
    facts = {
        "assumed_tokens": asdict(Lengths()),
        "prices_per_million": prices,
        "settings": _identity(settings, items, rounds, methods),
    }
    return Report(name=f"{reports.BY_MODEL}-dry-run", rows=rows, meta=facts)


def load(settings: AmemgymSettings) -> tuple[list[UserItem], Rounds]:
    """The users of a run, and how long sessions are. Raises `InputError` for data that cannot be scored."""
    generator = preset(settings.preset)
    rounds = Rounds(generator.num_rounds_init, generator.num_rounds_update)
    if settings.data is None:
        return generate_users(settings.limit or 20, settings=generator, seed=settings.seed), rounds
    items = load_items(settings.data)[: settings.limit]
    if unscored := [one for one in check_items(items) if one.rule == "I7"]:
        raise InputError(f"{settings.data} cannot be scored: {unscored[0]}; mend it, or leave that user out")
    check_names(items)
    return items, rounds


# -- by a model -------------------------------------------------------------------------------------------------------


def _run_by_model(
    settings: AmemgymSettings,
    items: list[UserItem],
    rounds: Rounds,
    methods: list[Method],
    model: ChatModel,
    user: ChatModel | None,
    out: Path | None,
    progress: Progress,
) -> Report:
    cost, identity = _estimate(settings, items, rounds, methods), _identity(settings, items, rounds, methods)
    name, budget = str(settings.model), settings.budgets[0]
    if out is not None:
        open_folder(out, identity)
    with (
        open_run(out, concurrency=settings.concurrency, embedder=settings.embedder_name, progress=progress) as shared,
        progress.bar("calls", sum(one.calls for one in cost.values())) as done,
    ):
        pictures = any(one.name == "memocr" for one in methods)
        cached = shared.model(with_ocr(model) if pictures else model, done=done)
        player = None if user is None else shared.model(user, done=done)
        for method in methods:
            write_config(method.public(plain_name(name), budget), shared.folder / method.name, items)

        def one(unit: tuple[UserItem, Method]) -> dict[int, UserResult]:
            item, method = unit
            spoken = None if player is None else ModelUser(player, seed=settings.seed)
            folder = shared.folder / method.name
            answerer = ModelAnswerer(item, cached, pool=shared.pool, budget=budget, folder=folder / item.id)
            found = _run_user(
                item,
                method,
                settings,
                rounds,
                answerer,
                model=cached,
                user=spoken,
                embedder=shared.embedder,
                folder=folder,
            )
            if spoken is not None:
                found[budget].usage["user"] = spoken.usage
            return found

        results = _by_method(methods, shared.pool.map(one, [(item, method) for item in items for method in methods]))
        write_json({"accuracy": random_baseline(items)}, shared.folder / "random.json")
        bound = None
        if settings.upper_bound:
            folder = shared.folder / model_folder(name)
            bound = ask_upper_bound(items, cached, ask=shared.pool.map, folder=folder)
        facts = {
            "settings": identity,
            "scored_by": f"the answers of {name}; not to be compared with those of the rule-based reader",
            "conversations": "replayed" if settings.off_policy else f"held with {settings.user_model or 'neutral questions'}",
            "paid": shared.calls.total().model_dump(),
            **machine_facts(),
        }
        report = reports.model_report(items, results, bound, budget=budget, seed=settings.seed, facts=facts)
        kept = shared.calls.path if out else "the cache of this run"
        progress.say(f"{shared.calls.paid} calls made, {shared.calls.hits} answered from {kept}")
    if out is not None:
        report.save(out)
    return report


def _identity(
    settings: AmemgymSettings, items: Sequence[UserItem], rounds: Rounds, methods: Sequence[Method]
) -> dict[str, Any]:
    talk = None if settings.off_policy is None else _stored_digest(settings.off_policy, items, rounds)
    budget = settings.budgets[0]
    return {
        "model": settings.model,
        "user_model": settings.user_model,
        "budget": budget,
        "preset": settings.preset,
        "seed": settings.seed,
        "embedder": settings.embedder_name,
        "off_policy": talk,
        "upper_bound": settings.upper_bound,
        "users": len(items),
        "data": digest_of(items),
        "methods": {one.name: one.public(plain_name(str(settings.model)), budget) for one in methods},
    }


def _stored_digest(folder: Path, items: Sequence[UserItem], rounds: Rounds) -> str:
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


def _estimate(
    settings: AmemgymSettings, items: Sequence[UserItem], rounds: Rounds, methods: Sequence[Method]
) -> dict[str, Cost]:
    return estimate_run(
        items,
        methods,
        budget=settings.budgets[0],
        rounds=rounds,
        user_model=settings.user_model is not None,
        upper_bound=settings.upper_bound,
        source=settings.off_policy,
    )


# -- by rule ----------------------------------------------------------------------------------------------------------


def _run_by_rule(
    settings: AmemgymSettings,
    items: list[UserItem],
    rounds: Rounds,
    methods: list[Method],
    out: Path | None,
    progress: Progress,
) -> list[Report]:
    began, used = time.perf_counter(), _processor_seconds()
    if settings.compare_ocr:
        from memagent.evaluation.ocr_pool import READERS

        READERS["ocr"]()  # what is not installed is told now, not when everything is done
    budgets = ", ".join(map(str, settings.budgets))
    progress.say(f"{len(items)} users, {len(methods)} methods, budgets of {budgets} tokens")
    units = [_RuleUnit(item, method, settings, rounds, out) for item in items for method in methods]
    with single_threaded_blas():
        found = in_processes("runs", _run_unit, units, workers=settings.workers, progress=progress)
    results = _by_method(methods, found)
    facts = {
        "settings": asdict(settings),
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(_processor_seconds() - used, 1),
        **machine_facts(),
    }
    made = [
        reports.rule_report(items, results, rule_upper_bound(items), budget=budget, seed=settings.seed, facts=facts)
        for budget in settings.budgets
    ]
    _save(made, out)
    if settings.compare_ocr and (agreement := _compare_ocr(results, settings, progress)) is not None:
        for report in made:
            report.meta["ocr_agreement"] = agreement
        _save(made, out)
    return made


def _save(made: Sequence[Report], out: Path | None) -> None:
    for report in made if out is not None else ():
        report.save(Path(out or ".") / f"budget_{report.meta['budget']}")


@dataclass(frozen=True)
class _RuleUnit:
    item: UserItem
    method: Method
    settings: AmemgymSettings
    rounds: Rounds
    out: Path | None


def _run_unit(unit: _RuleUnit) -> dict[int, UserResult]:
    settings = unit.settings
    samples = {budget: -(-share // (settings.limit or 20)) for budget, share in ocr_shares(settings).items()}
    answerer = RuleAnswerer(unit.item, budgets=settings.budgets, seed=settings.seed, samples=samples)
    folder = None if unit.out is None else unit.out / unit.method.name
    embedder = _embedder(settings.embedder_name)
    return _run_user(unit.item, unit.method, settings, unit.rounds, answerer, embedder=embedder, folder=folder)


@lru_cache(maxsize=1)
def _embedder(name: str | None) -> CachedEmbedder | None:
    """One for all of a process: loading takes longer than many users. Texts one by one: vectors depend on nothing else."""
    from memagent.retrieval.embedders.registry import load_embedder

    return None if name is None else CachedEmbedder(load_embedder(name), one_by_one=True)


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def ocr_shares(settings: AmemgymSettings) -> dict[int, int]:
    """Pictures of each budget for the real OCR, fewer of large ones, which take it longer: about equal time for each."""
    weights = [budget**-0.5 for budget in settings.budgets]
    ends = [round(settings.compare_ocr * sum(weights[: k + 1]) / sum(weights)) for k in range(len(weights))]
    return {budget: end - begin for budget, begin, end in zip(settings.budgets, [0, *ends], ends, strict=False)}


def _compare_ocr(results: reports.Results, settings: AmemgymSettings, progress: Progress) -> dict[str, Any] | None:
    """How the simulated reader compares with the real OCR on a seeded sample; None where no picture was read."""
    from memagent.evaluation.ocr_pool import OcrPool, PooledReader
    from memagent_renderers.ocr.simulated import agreement

    sample: dict[int, list[Picture]] = {}
    for budget, share in ocr_shares(settings).items():
        given = [picture for users in results.values() for one in users for picture in one[budget].pictures]
        sample[budget] = Random(f"{settings.seed}:{budget}").sample(given, min(share, len(given)))
    pictures = [one for budget in sorted(sample, reverse=True) for one in sample[budget]]  # the slowest first
    if not pictures:
        return None
    progress.say(f"reading {len(pictures)} pictures with the real OCR, to compare")
    with OcrPool("ocr") as real, progress.bar("pictures", len(pictures)) as done:
        for reading in [real.read(picture) for picture in pictures]:
            reading.add_done_callback(lambda _: done(1))
        patient, simulated = PooledReader(real), simulated_reader(settings.seed)
        by_budget = {budget: asdict(agreement(some, patient, simulated)) for budget, some in sample.items() if some}
        return {**asdict(agreement(pictures, patient, simulated)), "by_budget": by_budget}


# -- both -------------------------------------------------------------------------------------------------------------


def _run_user(
    item: UserItem,
    method: Method,
    settings: AmemgymSettings,
    rounds: Rounds,
    answerer: Answerer,
    *,
    model: ChatModel | None = None,
    user: ModelUser | None = None,
    embedder: CachedEmbedder | None,
    folder: Path | None,
) -> dict[int, UserResult]:
    guarded = GuardedUser(user or NeutralUser(seed=settings.seed), _leaks(settings), seed=settings.seed)
    with tempfile.TemporaryDirectory() as place, Store(place, embedder=embedder) as store:
        assistant = method.build(store=store, item=item, model=model, budget=settings.budgets[0])
        one = UserRun(item, assistant, guarded, answerer, rounds=rounds, folder=folder, source=settings.off_policy)
        return one.run()


def _leaks(settings: AmemgymSettings) -> Callable[[UserItem], LeakCheck]:
    """What no follow-up may say: values by their names, and of procedural users hints of them too."""

    def checks(item: UserItem) -> LeakCheck:
        named = named_values(item)
        if settings.data is not None:
            return named
        matcher = ValueMatcher(item.state_schema)
        return lambda text: matcher.hinted(text) | named(text)

    return checks


def _by_method(methods: Sequence[Method], found: Sequence[dict[int, UserResult]]) -> reports.Results:
    """Results by method, in the order of the users, of units user by user."""
    return {method.name: list(found[k :: len(methods)]) for k, method in enumerate(methods)}
