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

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
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
from memagent.environments.amemgym.dialogues import Rounds, stored_digest
from memagent.environments.amemgym.estimate import LENGTHS, Cost, estimate_run
from memagent.environments.amemgym.generate import ValueMatcher, generate_users, preset
from memagent.environments.amemgym.methods import BASELINES, Method, read_methods
from memagent.environments.amemgym.run_folder import check_names, digest_of, model_folder, open_folder, plain_name, write_config
from memagent.environments.amemgym.simulated_user import GuardedUser, ModelUser, NeutralUser, named_values
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
    """Pictures of a run by rule that the real OCR reads too, once the reports are made, to compare the simulated reader."""

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


@dataclass(frozen=True)
class Plan:
    """What a run is about: its settings, its users, how long their sessions are, and the methods."""

    settings: AmemgymSettings
    items: list[UserItem]
    rounds: Rounds
    methods: list[Method]

    @classmethod
    def of(cls, settings: AmemgymSettings) -> Plan:
        """Raises `InputError` for data that cannot be scored, and what `read_methods` raises."""
        generator = preset(settings.preset)
        rounds = Rounds(generator.num_rounds_init, generator.num_rounds_update)
        if settings.data is None:
            items = generate_users(settings.limit or 20, settings=generator, seed=settings.seed)
        else:
            items = load_items(settings.data)[: settings.limit]
            if unscored := [one for one in check_items(items) if one.rule == "I7"]:
                raise InputError(f"{settings.data} cannot be scored: {unscored[0]}; mend it, or leave that user out")
            check_names(items)
        reserved = None if settings.model is None else model_folder(settings.model).parts[0]
        return cls(settings, items, rounds, read_methods(settings.methods, reserved=reserved))

    @property
    def units(self) -> list[tuple[UserItem, Method]]:
        """What is run, one of them at a time: user by user, each with every method."""
        return [(item, method) for item in self.items for method in self.methods]

    def by_method(self, found: Sequence[dict[int, UserResult]]) -> reports.Results:
        """Results of the units by method, in the order of the users."""
        return {method.name: list(found[k :: len(self.methods)]) for k, method in enumerate(self.methods)}

    def costs(self) -> dict[str, Cost]:
        """What a run with a model would cost: of each method, of the user, of the upper bound."""
        chosen = self.settings
        return estimate_run(
            self.items,
            self.methods,
            budget=chosen.budgets[0],
            rounds=self.rounds,
            user_model=chosen.user_model is not None,
            upper_bound=chosen.upper_bound,
            source=chosen.off_policy,
        )

    def identity(self) -> dict[str, Any]:
        """What makes a run with a model this one and no other. Raises `InputError` for stored conversations of other users."""
        chosen, budget = self.settings, self.settings.budgets[0]
        stored = None if chosen.off_policy is None else stored_digest(chosen.off_policy, self.items, self.rounds)
        return {
            **{name: getattr(chosen, name) for name in ("model", "user_model", "preset", "seed", "upper_bound")},
            "budget": budget,
            "embedder": chosen.embedder_name,
            "off_policy": stored,
            "users": len(self.items),
            "data": digest_of(self.items),
            "methods": {one.name: one.public(plain_name(str(chosen.model)), budget) for one in self.methods},
        }


def run(
    settings: AmemgymSettings,
    *,
    model: ChatModel | None = None,
    user: ChatModel | None = None,
    out: Path | None = None,
    ray: str | None = None,
    progress: Progress = SILENT,
) -> list[Report]:
    """Measure; a report for each budget, saved in `out` as soon as it is made. Without `out`, nothing is kept.

    `ray` is the address of a cluster that does the work of a run by rule; None: processes of this machine.

    Raises `ConfigError`, `InputError`, `MissingExtra`, and a `ModelError` that no call escapes.
    """
    plan = Plan.of(settings)
    return _run_by_rule(plan, out, ray, progress) if model is None else [_run_by_model(plan, model, user, out, progress)]


def dry_run(settings: AmemgymSettings, *, prices: tuple[float, float] | None = None) -> Report:
    """What the run would cost: calls and tokens, and with prices per million tokens in and out the sum. Loads no model."""
    plan = Plan.of(settings)
    costs = plan.costs()
    rows: list[Row] = []
    for name, cost in {**costs, "total": sum(costs.values(), Cost())}.items():
        values: dict[str, float] = asdict(cost)
        if prices is not None:
            values["cost"] = cost.price(*prices)
        rows += [Row(method=name, metric=metric, value=value, n=len(plan.items)) for metric, value in values.items()]
    facts = {"assumed_tokens": asdict(LENGTHS), "prices_per_million": prices, "settings": plan.identity()}
    return Report(name=f"{reports.BY_MODEL}-dry-run", rows=rows, meta=facts)


# -- by a model -------------------------------------------------------------------------------------------------------


def _run_by_model(plan: Plan, model: ChatModel, user: ChatModel | None, out: Path | None, progress: Progress) -> Report:
    settings, items, identity = plan.settings, plan.items, plan.identity()
    name, budget = str(settings.model), settings.budgets[0]
    calls = sum(one.calls for one in plan.costs().values())
    if out is not None:
        open_folder(out, identity)
    with (
        open_run(out, concurrency=settings.concurrency, embedder=settings.embedder_name, progress=progress) as shared,
        progress.bar("calls", calls) as done,
    ):
        pictures = any(one.name == "memocr" for one in plan.methods)
        cached = shared.model(with_ocr(model) if pictures else model, done=done)
        player = None if user is None else shared.model(user, done=done)
        for method in plan.methods:
            write_config(method.public(plain_name(name), budget), shared.folder / method.name, items)

        def one(unit: tuple[UserItem, Method]) -> dict[int, UserResult]:
            item, folder = unit[0], shared.folder / unit[1].name
            spoken = None if player is None else ModelUser(player, seed=settings.seed)
            answerer = ModelAnswerer(item, cached, pool=shared.pool, budget=budget, folder=folder / item.id)
            found = _run_user(
                settings, plan.rounds, unit, answerer, embedder=shared.embedder, folder=folder, model=cached, user=spoken
            )
            if spoken is not None:
                found[budget].usage["user"] = spoken.usage
            return found

        results = plan.by_method(shared.pool.map(one, plan.units))
        write_json({"accuracy": random_baseline(items)}, shared.folder / "random.json")
        bound = None
        if settings.upper_bound:
            bound = ask_upper_bound(items, cached, ask=shared.pool.map, folder=shared.folder / model_folder(name))
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


# -- by rule ----------------------------------------------------------------------------------------------------------


def _run_by_rule(plan: Plan, out: Path | None, ray: str | None, progress: Progress) -> list[Report]:
    began, used, settings = time.perf_counter(), _processor_seconds(), plan.settings
    if settings.compare_ocr:
        from memagent.evaluation.ocr_pool import READERS

        READERS["ocr"]()  # what is not installed is told now, not when everything is done
    budgets = ", ".join(map(str, settings.budgets))
    progress.say(f"{len(plan.items)} users, {len(plan.methods)} methods, budgets of {budgets} tokens")
    with single_threaded_blas():
        if ray is not None:
            from memagent.environments.amemgym.ray_run import run_by_ray

            found = run_by_ray(plan, address=ray, out=out, progress=progress)
        else:
            work = partial(run_unit, settings, plan.rounds, out)
            found = in_processes("runs", work, plan.units, workers=settings.workers, progress=progress)
    results = plan.by_method(found)
    facts = {
        "settings": asdict(settings),
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(_processor_seconds() - used, 1),
        **machine_facts(),
    }
    bound = rule_upper_bound(plan.items)
    made = [
        reports.rule_report(plan.items, results, bound, budget=budget, seed=settings.seed, facts=facts)
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


def run_unit(
    settings: AmemgymSettings, rounds: Rounds, out: Path | None, unit: tuple[UserItem, Method]
) -> dict[int, UserResult]:
    """One method on one user, answered by rules; conversations are kept in `out`."""
    item, method = unit
    samples = {budget: -(-share // (settings.limit or 20)) for budget, share in ocr_shares(settings).items()}
    answerer = RuleAnswerer(item, budgets=settings.budgets, seed=settings.seed, samples=samples)
    folder = None if out is None else out / method.name
    return _run_user(settings, rounds, unit, answerer, embedder=_embedder(settings.embedder_name), folder=folder)


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
    settings: AmemgymSettings,
    rounds: Rounds,
    unit: tuple[UserItem, Method],
    answerer: Answerer,
    *,
    embedder: CachedEmbedder | None,
    folder: Path | None,
    model: ChatModel | None = None,
    user: ModelUser | None = None,
) -> dict[int, UserResult]:
    """Results by budget of one method and user, in a store of their own.

    No follow-up may name a value; of procedural users, whose words are known, it may not hint at one either.
    """
    item, method = unit
    leaks = named = named_values(item)
    if settings.data is None:
        matcher = ValueMatcher(item.state_schema)
        leaks = lambda text: matcher.hinted(text) | named(text)  # noqa: E731
    guarded = GuardedUser(user or NeutralUser(seed=settings.seed), leaks, seed=settings.seed)
    with tempfile.TemporaryDirectory() as place, Store(place, embedder=embedder) as store:
        assistant = method.build(store=store, item=item, model=model, budget=settings.budgets[0])
        return UserRun(item, assistant, guarded, answerer, rounds=rounds, folder=folder, source=settings.off_policy).run()
