"""How good is V0.5's baseline? Its error against the group mean's, exactly, on prompts whose success rate is known.

    python -m training.experiments.v05_mse.run [--out DIR] [--seed 0] [--json]

Three looks, all in units of rewards in [-1, 1] (V0.5, arXiv 2603.10848):

1. a population of prompts with a prior that is off by noise, or by a bias, in log-odds: computed exactly;
2. the worst case over all success rates and all priors: computed exactly;
3. a bandit that is really pulled, through the parts that a trainer uses: sampled, with intervals over repetitions.

Every arm is also compared with the plain mean at equal rollouts used, where the plain mean can win: the output says where. Rows
carry `at`: the prior's noise in logits, `bias +b` (no noise), or `any prior` for the worst case. The last lines are the bars
that V0.5 has to meet; the exit status is 1 when one is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from memagent.evaluation.metrics import mean_interval
from memagent.evaluation.report import Report, Row, machine_facts
from memagent_training.grpo.allocators.sequential import SequentialAllocator
from memagent_training.grpo.baselines import GroupMean, V05Baseline
from memagent_training.grpo.baselines.base import Baseline
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.grpo.validate import Floats
from training.experiments.bars import Bar
from training.experiments.v05_mse.exact import (
    BaselineName,
    Grid,
    bernoulli_gradient,
    exact_fixed,
    exact_sequential,
    sequential_gradient,
    standard_grid,
)

MEAN, FUSED, SEQUENTIAL, EQUAL = "group_mean-4", "v05-4", "v05-sequential", "group_mean-equal"
"""Arms: the mean of 4, V0.5 of 4, V0.5 of 4 to 16, and the mean of as many rollouts as that used on average."""
NOISES = [0.25 * step for step in range(13)]
BIASES = [float(bias) for bias in range(-4, 5) if bias]
SHOWN = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, "bias +1", "bias +2", "bias -4", "bias +4"]
TABLE = ("mse", "mse_ratio_to_mean4", "accept", "mean_k", "gradient_mse")
"""Conditions and metrics of the printed table; the report has all."""
GOOD = [noise for noise in NOISES if noise <= 0.5]
"""Noise of a good prior, in logits."""
ANY = "any prior"
BANDIT = [(0.5, 0.0), (2.0, 0.0), (0.0, -4.0), (0.0, 4.0)]
"""(noise, bias) of the sampled look."""
REPETITIONS, PROMPTS = 16, 200
BOUND, EXCESS, RATIO = 0.371, 0.25, 0.5
"""The bars: worst error of sequential V0.5, worst excess over the mean of 4, ratio to the mean of 4 with a good prior."""

At = float | str
Values = dict[tuple[str, str, At], float]
"""Values of rows by (arm, metric, at)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save. Returns the exit status: 0 when every bar is met."""
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.v05_mse.run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="save the report, its table and the curves here")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled look (default 0)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON and nothing else")
    options = parser.parse_args(arguments)

    started = perf_counter()
    rows = [row for noise in NOISES for row in population_rows(standard_grid(noise=noise), noise)]
    rows += [row for bias in BIASES for row in population_rows(standard_grid(bias=bias), biased(bias))]
    rows += worst_rows()
    rows += [row for noise, bias in BANDIT for row in bandit_rows(noise, bias, seed=options.seed)]

    values: Values = {(row.method, row.metric, row.at): row.value for row in rows if row.at is not None}
    bars = judge(values)
    meta = {
        "units": "rewards in [-1, 1]",
        "at": "noise of the prior in logits, `bias b` in logits, or `any prior`",
        "seed": options.seed,
        "bandit": {"repetitions": REPETITIONS, "prompts": PROMPTS},
        "k_init": 4,
        "k_max": 16,
        "cost": 1 / 256,
        "bars": [bar._asdict() for bar in bars],
        "plain_mean_wins_at_equal_rollouts": plain_wins(values),
        "seconds": round(perf_counter() - started, 2),
        **machine_facts(),
    }
    report = Report(name="baseline_mse", rows=rows, meta=meta)

    if options.json:
        print(report.model_dump_json())
    else:
        shown = [row for row in rows if (row.at in SHOWN and row.metric in TABLE) or row.metric.endswith("_bandit")]
        lines = [Report(name="shown", rows=shown).markdown(), "At equal rollouts used, the plain mean wins:"]
        lines += [f"  {name}: {', '.join(map(label, at)) or 'nowhere here'}" for name, at in plain_wins(values).items()]
        print("\n".join([*lines, "", *(bar.line() for bar in bars)]))
    if options.out:
        print("saved " + ", ".join(map(str, report.save(options.out))), file=sys.stderr)
    return 0 if all(bar.met for bar in bars) else 1


def biased(bias: float) -> str:
    """The `at` of a prior without noise and with this bias."""
    return f"bias {bias:+g}"


def population_rows(grid: Grid, at: At) -> list[Row]:
    """Exact errors of every arm over a population."""
    fixed, steps = exact_fixed(grid.mu, grid.prior, 4), exact_sequential(grid.mu, grid.prior)
    spent, variance = grid.mean(steps.mean_k), grid.mean(1 - grid.mu**2)
    errors = {MEAN: variance / 4, FUSED: grid.mean(fixed.mse), SEQUENTIAL: grid.mean(steps.mse), EQUAL: variance / spent}
    rows = [Row(method="prior", metric="mse", at=at, value=grid.mean((grid.prior - grid.mu) ** 2))]
    rows += [Row(method=arm, metric="mse", at=at, value=value) for arm, value in errors.items()]
    rows += [Row(method=arm, metric="mse_ratio_to_mean4", at=at, value=value / errors[MEAN]) for arm, value in errors.items()]
    used = {MEAN: 4.0, FUSED: 4.0, SEQUENTIAL: spent, EQUAL: spent}
    rows += [Row(method=arm, metric="mean_k", at=at, value=value) for arm, value in used.items()]
    accepted = {FUSED: 1 - grid.mean(fixed.p_reject), SEQUENTIAL: 1 - grid.mean(steps.p_reject)}
    rows += [Row(method=arm, metric="accept", at=at, value=value) for arm, value in accepted.items()]
    return rows + gradient_rows(grid, at, spent=spent)


def gradient_rows(grid: Grid, at: At, *, spent: float) -> list[Row]:
    """Squared error of a group's gradient, and how much of the true gradient is left of it on average."""
    rate = (1 + grid.mu) / 2
    true = 2 * rate * (1 - rate)

    def measured(mean: Floats, var: Floats) -> tuple[float, float]:
        return grid.mean((mean - true) ** 2 + var), grid.mean(mean * true) / grid.mean(true**2)

    def equal(baseline: BaselineName) -> tuple[float, float]:
        """Groups of the two whole sizes around `spent`, mixed so that their mean is `spent`."""
        size = math.floor(spent)
        small, large = (measured(*bernoulli_gradient(rate, grid.prior, k, baseline)) for k in (size, size + 1))
        share = spent - size
        return (1 - share) * small[0] + share * large[0], (1 - share) * small[1] + share * large[1]

    found = {
        MEAN: measured(*bernoulli_gradient(rate, grid.prior, 4, "mean")),
        "leave_one_out-4": measured(*bernoulli_gradient(rate, grid.prior, 4, "loo")),
        FUSED: measured(*bernoulli_gradient(rate, grid.prior, 4, "v05")),
        "v05_loo-4": measured(*bernoulli_gradient(rate, grid.prior, 4, "v05_loo")),
        SEQUENTIAL: measured(*sequential_gradient(rate, grid.prior)),
        EQUAL: equal("mean"),
        "leave_one_out-equal": equal("loo"),
    }
    rows = [Row(method=arm, metric="gradient_mse", at=at, value=error) for arm, (error, _) in found.items()]
    return rows + [Row(method=arm, metric="gradient_scale", at=at, value=scale) for arm, (_, scale) in found.items()]


def worst_rows() -> list[Row]:
    """The largest error, and excess over the mean of 4, over every mu and V, and over every mu with V off by 4 logits."""
    odds = np.linspace(-9, 9, 721)
    cases: list[tuple[str, Floats, Floats]] = [
        # A mirrored pair (-mu, -V) has the same error, so mu >= 0 is enough.
        (ANY, np.linspace(0, 1, 201)[:, None], np.linspace(-1, 1, 401)[None, :]),
        *((biased(bias), np.tanh(odds / 2), np.tanh((odds + bias) / 2)) for bias in (-4.0, 4.0)),
    ]
    rows = []
    for at, mu, prior in cases:
        plain = (1 - mu**2) / 4
        for arm, error in ((FUSED, exact_fixed(mu, prior, 4).mse), (SEQUENTIAL, exact_sequential(mu, prior).mse)):
            rows.append(Row(method=arm, metric="worst_mse", at=at, value=float(error.max()), n=error.size))
            rows.append(Row(method=arm, metric="worst_excess", at=at, value=float((error - plain).max()), n=error.size))
    return rows


def bandit_rows(noise: float, bias: float, *, seed: int) -> list[Row]:
    """The sampled look: errors and rollouts of every arm, with intervals over repetitions."""
    at: At = biased(bias) if bias else noise
    found: dict[tuple[str, str], list[float]] = {}
    for repetition in range(REPETITIONS):
        random = np.random.default_rng([seed, repetition])
        for arm, error, spent in pull(random, noise=noise, bias=bias):
            found.setdefault((arm, "mse_bandit"), []).append(error)
            found.setdefault((arm, "mean_k_bandit"), []).append(spent)
    return [Row.of(arm, metric, at, mean_interval(values, seed=seed)) for (arm, metric), values in found.items()]


def pull(random: np.random.Generator, *, noise: float, bias: float) -> list[tuple[str, float, float]]:
    """One repetition: prompts that pay 0 or 1 are pulled as a trainer would. For each arm: its error and mean group size."""
    rates = random.permutation(np.tile(np.arange(0.05, 1, 0.1), PROMPTS // 10))
    odds = np.log(rates / (1 - rates)) + bias + noise * random.standard_normal(PROMPTS)
    priors = (1 / (1 + np.exp(-odds))).tolist()
    stream = (random.random((PROMPTS, 16)) < rates[:, None]).astype(np.float64)

    def groups(sizes: Iterable[int]) -> list[list[float]]:
        return [row[:size].tolist() for row, size in zip(stream, sizes, strict=True)]

    allocator = SequentialAllocator()
    sizes = allocator.first([str(at) for at in range(PROMPTS)], total=4 * PROMPTS, history=PromptStats())
    while more := allocator.more(groups(sizes), priors=priors, bounds=(0.0, 1.0)):
        sizes = [size + further for size, further in zip(sizes, more, strict=True)]
    least, rest = divmod(sum(sizes), PROMPTS)
    even = random.permutation([least + 1] * rest + [least] * (PROMPTS - rest)).tolist()

    def error(baseline: Baseline, sizes: Sequence[int]) -> float:
        rewards = groups(sizes)
        advantages = baseline.advantages(rewards, priors=priors, bounds=(0.0, 1.0))
        values = [group[0] - one[0] for group, one in zip(rewards, advantages, strict=True)]
        return float(4 * np.mean((np.array(values) - rates) ** 2))  # 4: from rewards in [0, 1] to [-1, 1]

    four, plain, fused = [4] * PROMPTS, GroupMean(scale="none"), V05Baseline()
    arms: list[tuple[str, Baseline, list[int]]] = [
        (MEAN, plain, four),
        (FUSED, fused, four),
        (SEQUENTIAL, fused, sizes),
        (EQUAL, plain, even),
    ]
    return [(arm, error(baseline, used), sum(used) / PROMPTS) for arm, baseline, used in arms]


def judge(values: Values) -> list[Bar]:
    """The bars of the issue."""
    ratio = max(values[FUSED, "mse_ratio_to_mean4", noise] for noise in GOOD)
    bars = [Bar("ratio to the mean at group size 4, logit noise <= 0.5, no bias", ratio < RATIO, ratio, RATIO)]
    for at in (ANY, biased(-4), biased(4)):
        worst, excess = (values[SEQUENTIAL, metric, at] for metric in ("worst_mse", "worst_excess"))
        bars.append(Bar(f"sequential MSE everywhere, {at}", worst <= BOUND, worst, BOUND))
        bars.append(Bar(f"sequential excess over the mean of 4, {at}", excess <= EXCESS + 1e-12, excess, EXCESS))
    return bars


def conditions(values: Values) -> list[At]:
    """Every `at` of the population, in order."""
    return [at for arm, metric, at in values if (arm, metric) == (SEQUENTIAL, "mse")]


def plain_wins(values: Values) -> dict[str, list[At]]:
    """Where the plain mean of equally many rollouts has the smaller error: by comparison and metric, the conditions."""
    pairs: list[tuple[str, str, str, str]] = [
        ("v05-4 against group_mean-4: baseline", FUSED, MEAN, "mse"),
        ("v05-sequential against group_mean-equal: baseline", SEQUENTIAL, EQUAL, "mse"),
        ("v05-4 against group_mean-4: gradient", FUSED, MEAN, "gradient_mse"),
        ("v05-sequential against group_mean-equal: gradient", SEQUENTIAL, EQUAL, "gradient_mse"),
    ]
    return {
        name: [at for at in conditions(values) if values[plain, metric, at] < values[arm, metric, at]]
        for name, arm, plain, metric in pairs
    }


def label(at: At) -> str:
    """A condition in words."""
    return at if isinstance(at, str) else f"noise {at:g}"


if __name__ == "__main__":
    sys.exit(main())
