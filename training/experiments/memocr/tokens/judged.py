"""What the token policies of several seeds are worth by the real OCR: chain lengths of training, and longer ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from training.experiments.memocr.judge import LARGE, Job, Judged, judge
from training.experiments.memocr.page import Line
from training.experiments.memocr.report import Found, Tables
from training.experiments.memocr.study import Drafted, Say
from training.experiments.memocr.tokens.evaluate import test_questions
from training.experiments.memocr.tokens.settings import TokenSettings

EVERY = 4
"""Of so many questions of a chain length one is read above `LARGE` tokens."""


def drafted(settings: TokenSettings, folder: Path, *, seed: int, each: int) -> list[Drafted]:
    """The pages that `train.run` wrote for a seed."""
    rows = {row["id"]: row["page"] for row in map(json.loads, (folder / "pages.jsonl").read_text("utf-8").splitlines())}
    asked = test_questions(settings, each=each, seed=seed)
    return [Drafted(one, tuple(Line(tier, fact) for tier, fact in rows[one.id])) for one in asked]


def batch_seconds(folder: Path, *, updates: int) -> dict[str, float] | None:
    """Seconds of a generation batch by part, means over what the trainer logged in `folder`; None where it logged nothing."""
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [one for one in logged if "step_time" in one and "time/rollout" in one]
    if not steps:  # fewer batches than there are between two log lines
        return None
    rollout, read, score = (fmean(one[f"time/{name}"] for one in steps) for name in ("rollout", "render_and_read", "score"))
    whole = updates * fmean(one["step_time"] for one in steps)
    return {"sampling": rollout - read, "render_and_read": read, "scoring": score, "update": whole - rollout - score}


def judged_tables(
    settings: TokenSettings,
    pages: dict[tuple[str, int], list[Drafted]],
    *,
    budgets: Sequence[int],
    path: Path,
    workers: int,
    say: Say,
) -> dict[str, Tables]:
    """Tables of the questions of known chain lengths (`seen`) and of `longer` ones; `pages` by arm and seed.

    Above `LARGE` tokens, where a page takes the OCR ten seconds, one question of `EVERY` of each chain length is read.
    """
    jobs = [job for (arm, seed), drafts in pages.items() for job in _jobs(arm, seed, drafts, budgets)]
    found = judge(jobs, path, mode=settings.mode, workers=workers, say=say)
    groups = {"seen": set(settings.hops), "longer": {4} - set(settings.hops)}
    return {
        name: Tables(settings.mode, [_found(key, drafts, found, hops) for key, drafts in pages.items()], budgets)
        for name, hops in groups.items()
    }


def _jobs(arm: str, seed: int, drafts: Sequence[Drafted], budgets: Sequence[int]) -> Iterator[Job]:
    met: Counter[int] = Counter()
    for page in drafts:
        number = met[len(page.question.chain)]
        met[len(page.question.chain)] += 1
        for tokens in budgets:
            if tokens <= LARGE or number % EVERY == 0:
                yield Job(arm, seed, tokens, page)


def _found(key: tuple[str, int], drafts: Sequence[Drafted], judged: Sequence[Judged], hops: set[int]) -> Found:
    arm, seed = key
    return Found(
        arm,
        seed,
        [page for page in drafts if len(page.question.chain) in hops],
        [one for one in judged if (one.arm, one.seed) == key and one.hops in hops],
        None,
    )
