"""`memagent bench amemgym --offline`: kinds of memory on AMemGym users, without any model.

Users are procedural, follow-ups are neutral questions, assistants only acknowledge. After each period every method gives, for
each question and for the values behind it, a view of at most B tokens: text tokens, or visual ones of a picture that a
calibrated eye reads. The answer probe (`memagent.environments.amemgym.rule_reader`) reads the views: it tells what reaches a
reader, not what a model makes of it, so these scores stand apart from those of models. `awe` and `awi`, which know no budget
as published, are cut to it.

`accuracy` and the three failure rates add up to 1 in each period. A view that could not be made counts as a wrong answer.
Intervals draw whole users. Wherever a calibrated eye read, the real one reads a seeded sample of pictures again. Users are
shared out among processes, and score the same on any number of them.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

from memagent.environments.amemgym.baselines import oracle_view
from memagent.environments.amemgym.comparison import Played, standing
from memagent.environments.amemgym.data import Item
from memagent.environments.amemgym.dialogues import Rounds
from memagent.environments.amemgym.error_analysis import counted
from memagent.environments.amemgym.generate import generate_users, preset
from memagent.environments.amemgym.offline_users import (
    BUDGETS,
    MEMORIES,
    METHODS,
    WINDOWED,
    Life,
    Settings,
    calibrated,
    live,
    shares,
)
from memagent.environments.amemgym.rule_reader import RuleBasedReader
from memagent.environments.amemgym.scoring.ages import age_rows
from memagent.environments.amemgym.scoring.bounds import METRIC_OF_RULE, RULES, Accuracies, memory_score, random_baseline
from memagent.environments.amemgym.scoring.diagnosis import RATES, diagnose_all, failure_rates
from memagent.environments.amemgym.scoring.metrics import DRAWS, MEAN, pooled_rows
from memagent.evaluation.report import Report, Row, machine_facts
from memagent_renderers.engines.workers import cores

if TYPE_CHECKING:
    from memagent_renderers.budget import Picture

__all__ = ["BUDGETS", "METHODS", "Settings", "means", "remarks", "run", "upper_bound"]

Say = Callable[[str], None]
Track = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far something is: a label and a total, then what is called with the units just done."""


@contextmanager
def _untracked(label: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


def run(settings: Settings, *, out: Path | None = None, say: Say = lambda _: None, track: Track = _untracked) -> list[Report]:
    """Measure; a report for each budget. With `out`, the conversations are kept there. Raises `MissingExtra`, `InputError`."""
    began, used = time.perf_counter(), _processor_seconds()
    if "memocr" in settings.methods:
        from memagent.evaluation.ocr_pool import EYES

        EYES["ocr"]()  # what is not installed is told now, not when everything is done
    generator = preset(settings.preset)
    items = generate_users(settings.users, settings=generator, seed=settings.seed)
    say(f"{len(items)} users, {len(settings.methods)} methods, budgets of {', '.join(map(str, settings.budgets))} tokens")
    lives = _lives(items, settings, Rounds(generator.num_rounds_init, generator.num_rounds_update), out, track)
    checked = _eye_agreement(lives, settings, say, track)
    facts = {
        "settings": asdict(settings),
        "read_by": "the answer probe, without a model; not to be compared with scores of models",
        "budget_counts": "text tokens of a view; for memocr, visual tokens of a picture",
        "users": len(items),
        "draws": DRAWS,
        "rules": {METRIC_OF_RULE[rule]: rule for rule in RULES},
        "talk": _talk(lives),
        "eye_agreement": checked,
        "remembering_seconds": {method: round(sum(one.remembering[method] for one in lives), 1) for method in settings.methods},
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(_processor_seconds() - used, 1),
        **machine_facts(),
    }
    return [_report(items, lives, budget, settings, facts) for budget in settings.budgets]


# -- lives ------------------------------------------------------------------------------------------------------------


def _lives(items: Sequence[Item], settings: Settings, rounds: Rounds, out: Path | None, track: Track) -> list[Life]:
    """Those of all users, in their order, on as many processes as there are workers."""
    workers = min(settings.workers or cores(), len(items))
    with track("users", len(items)) as done:
        if workers == 1:
            lives = []
            for item in items:
                lives.append(live(item, settings, rounds, out))
                done(1)
            return lives
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of running threads
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            asked = [pool.submit(live, item, settings, rounds, out) for item in items]
            try:
                for one in as_completed(asked):
                    one.result()
                    done(1)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            return [one.result() for one in asked]


def _processor_seconds() -> float:
    """Of this process and of those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _talk(lives: Sequence[Life]) -> dict[str, Any]:
    """What was said, and what of it gave away more than it should."""
    history = sum((one.history for one in lives), Counter())
    return {
        "openings": dict(sum((one.openings for one in lives), Counter())),
        "follow_ups": dict(sum((one.follow_ups for one in lives), Counter())),
        "tokens_per_user": {method: round(total / len(lives)) for method, total in history.items()},
    }


def _eye_agreement(lives: Sequence[Life], settings: Settings, say: Say, track: Track) -> dict[str, Any] | None:
    """How the calibrated eye compares with the real one; None where no picture was read."""
    from memagent.evaluation.ocr_pool import OcrPool, PatientEye
    from memagent_renderers.ocr.simulated import agreement

    sample = _sample(lives, settings)
    pictures = [one for budget in sorted(sample, reverse=True) for one in sample[budget]]  # the slowest first
    if not pictures:
        return None
    say(f"reading {len(pictures)} pictures with the real eye, to compare")
    with OcrPool("ocr") as real, track("pictures", len(pictures)) as done:
        for reading in [real.read(picture) for picture in pictures]:
            reading.add_done_callback(lambda _: done(1))
        patient, eye = PatientEye(real), calibrated(settings.seed)
        by_budget = {budget: asdict(agreement(some, patient, eye)) for budget, some in sample.items() if some}
        return {**asdict(agreement(pictures, patient, eye)), "by_budget": by_budget}


def _sample(lives: Sequence[Life], settings: Settings) -> dict[int, list[Picture]]:
    """The pictures to check by budget: drawn from those that each user gave."""
    chosen = {}
    for budget, share in shares(settings).items():
        given = [picture for one in lives for picture in one.pictures.get(budget, ())]
        chosen[budget] = Random(f"{settings.seed}:{budget}").sample(given, min(share, len(given)))
    return chosen


# -- numbers ----------------------------------------------------------------------------------------------------------


def _report(items: Sequence[Item], lives: Sequence[Life], budget: int, settings: Settings, facts: dict[str, Any]) -> Report:
    chance, upper, seed = random_baseline(items), upper_bound(items), settings.seed
    rows: list[Row] = []
    undefined: dict[str, int] = {}
    scores = {method: [one.scores[budget, method] for one in lives] for method in settings.methods}
    for method, users in scores.items():
        accuracy = [one.accuracy for one in users]
        rows += pooled_rows(method, "accuracy", accuracy, seed=seed)
        for rule in RULES:
            score = memory_score(accuracy, chance, upper, rule=rule, seed=seed)
            rows += score.rows(method)
            undefined[f"{method}/{METRIC_OF_RULE[rule]}"] = score.undefined
        ids = [item.id for item in items]
        probes = {user: one.probes for user, one in zip(ids, users, strict=True)}
        rates = failure_rates(diagnose_all(probes), dict(zip(ids, accuracy, strict=True)))
        for name in RATES:
            rows += pooled_rows(method, name, getattr(rates, name), seed=seed)
        rows += age_rows(method, items, accuracy, seed=seed)
    memories = {method: users for method, users in scores.items() if method in (*MEMORIES, *WINDOWED)}
    played = {
        method: Played([one.accuracy for one in users], [one.losses for one in users]) for method, users in memories.items()
    }
    failed = {method: [one for user in users for one in user.failures] for method, users in scores.items()}
    own = {
        "budget": budget,
        "memocr": standing(played, seed=seed),
        "lost": {method: counted([one for user in users for one in user.losses]) for method, users in memories.items()},
        "undefined": undefined,
        "view_tokens_mean": {
            method: round(fmean(cost for user in users for cost in user.costs), 1)
            for method, users in scores.items()
            if any(user.costs for user in users)
        },
        "reading_seconds": {method: round(sum(user.seconds for user in users), 1) for method, users in scores.items()},
        "failures": {method: {"count": len(some), "first": some[:5]} for method, some in failed.items()},
    }
    return Report(name="amemgym", rows=rows, meta={**own, **facts})


def upper_bound(items: Sequence[Item]) -> Accuracies:
    """What the probe answers when it is told the present values."""
    found: Accuracies = []
    for item in items:
        reader = RuleBasedReader(item)
        found.append(
            [
                [reader.score(oracle_view(item, period), question, period=period) for question in item.qas]
                for period in range(len(item.periods))
            ]
        )
    return found


def means(report: Report) -> list[tuple[str, ...]]:
    """The means over periods as a table with a head: a line for each method, a column for each metric."""
    metrics = ("accuracy", "memory_score", *RATES)
    found = {(row.method, row.metric): row for row in report.rows if row.at == MEAN}
    methods = dict.fromkeys(method for method, _ in found)
    head = ("METHOD", *(metric.replace("_", " ").upper() for metric in metrics))
    return [head, *((method, *(_cell(found.get((method, metric))) for metric in metrics)) for method in methods)]


def remarks(report: Report) -> list[str]:
    """What a run says beside its tables: what budgets count, how far the calibrated eye can be trusted, what it took."""
    meta = report.meta
    said = [f"Budgets count {meta['budget_counts']}. Read by {meta['read_by']}."]
    if meta["eye_agreement"] is not None:
        eye = meta["eye_agreement"]
        pictures = ", ".join(f"{one['pictures']} of {budget} tokens" for budget, one in eye["by_budget"].items())
        said.append(
            f"The real eye read {eye['real']:.3f} of the words of {eye['pictures']} pictures ({pictures}), the calibrated one "
            f"{eye['calibrated']:.3f}; {eye['apart']:.3f} apart on average."
        )
    return [*said, f"Took {meta['seconds']:.0f} s, {meta['processor_seconds']:.0f} s of processor time."]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    interval = "" if row.low is None or row.high is None else f" ({row.low:.3f} .. {row.high:.3f})"
    return f"{row.value:.3f}{interval}"
