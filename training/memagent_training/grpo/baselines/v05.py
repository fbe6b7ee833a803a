"""V0.5's baseline: a prior of the prompt's expected reward, corrected by a handful of rollouts (arXiv 2603.10848).

With prior V, k rollouts with mean v, and d = v - V, everything for rewards in [-1, 1]:

    noise      n = 1 / k                         the largest variance that a mean of k such rewards can have
    test       T = k d^2                         T <= 1 accepts the prior, b = V; equality accepts
    bias       D = max(0, d^2 - n)               what of the gap cannot be noise
    weight     w = D / (D + n) = (1 - 1 / T)+    positive-part James-Stein shrinkage towards V
    baseline   b = V + w d                       never farther than 1 / sqrt(k) from v
    more?      gain = D / (1 + k D) - D / (1 + (k + 1) D) > c       one-step look-ahead, for one more rollout

A prior that holds is kept after four rollouts; one that does not is overruled, and its prompt is given more rollouts.
Rewards in another range [low, high], with half range h, are the affine image: variances, D and the cost c are multiplied by
h^2, so weights and decisions are the same. Hence `cost` is always given for h = 1.

`v05_baseline` and `v05_should_stop` judge one group; `fuse`, `osla_gain` and `gain_rate` are vectorised over prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.baselines.group_mean import divided
from memagent_training.grpo.baselines.leave_one_out import left_one_out
from memagent_training.grpo.needs import Needs, Range
from memagent_training.grpo.validate import (
    Floats,
    batch_deviation,
    check_choice,
    half_range,
    ranged_prior,
    ranged_rewards,
)

TOLERANCE = 1e-12
"""T up to 1 + this accepts the prior: equality counts as acceptance although floats round."""

Osla = Literal["discrete", "continuous"]
"""How the next rollout's gain is foreseen: the exact difference, or the derivative of the risk, (w / k)^2."""

Norm = Literal["none", "batch_std", "bernoulli"]
"""What r - b is divided by."""


class V05(NamedTuple):
    """The baseline of one group. `fuse` is the form for many groups at once."""

    value: float
    """b, in reward units, between the prior and the mean reward."""
    weight: float
    """w in [0, 1): how far b went from the prior to the mean."""
    rejected: bool
    """Whether the rollouts overruled the prior (w > 0)."""


class Fusion(NamedTuple):
    """Baselines of many prompts; every field has the broadcast shape of the arguments."""

    value: Floats
    """b, in reward units."""
    weight: Floats
    """w in [0, 1)."""
    delta2: Floats
    """D, in squared reward units (h^2 times that of rewards in [-1, 1])."""
    statistic: Floats
    """T >= 0; its mean over prompts is at most 1 when priors hold."""
    rejected: NDArray[np.bool_]
    """T > 1."""


class GroupRun(NamedTuple):
    """What sequential sampling of one group came to."""

    value: float
    """b, in reward units."""
    k: int
    """Rollouts used."""
    weight: float
    """w in [0, 1)."""
    rejected: bool
    """Whether the rollouts overruled the prior."""


def fuse(vbar: ArrayLike, prior: ArrayLike, k: ArrayLike, *, half: float = 1.0) -> Fusion:
    """Priors fused with means of `k` >= 1 rewards; arguments broadcast, float64.

    `vbar` and `prior` are in reward units, `half` is half the range of rewards. Raises `InputError` for values that are not
    finite, a `k` below 1 and a `half` that is not positive.
    """
    mean, expected, count = (np.asarray(one, np.float64) for one in (vbar, prior, k))
    if not (np.isfinite(mean).all() and np.isfinite(expected).all() and np.isfinite(count).all()):
        raise InputError("means, priors and numbers of rollouts must be finite")
    if (count < 1).any() or not (math.isfinite(half) and half > 0):
        raise InputError(f"a fusion needs k >= 1 and half > 0, got k = {np.min(count):g} and half = {half}")
    gap = mean - expected
    statistic = count * (gap / half) ** 2
    rejected = statistic > 1 + TOLERANCE
    weight = np.where(rejected, 1 - 1 / np.where(rejected, statistic, 1.0), 0.0)
    return Fusion(
        value=expected + weight * gap,
        weight=weight[()],
        delta2=(weight * gap**2)[()],  # d^2 - n = d^2 (1 - 1/T)
        statistic=statistic,
        rejected=rejected,
    )


def oracle_weight(delta2: ArrayLike, sigma2: ArrayLike) -> Floats:
    """w* = D / (D + s^2), best when the prior's squared error D and the mean's variance s^2 are known; 0 when both are 0."""
    bias, noise = np.asarray(delta2, np.float64), np.asarray(sigma2, np.float64)
    total = bias + noise
    weight: Floats = np.divide(bias, total, out=np.zeros_like(total), where=total > 0)
    return weight[()]


def osla_gain(k: ArrayLike, delta2: ArrayLike, *, m: ArrayLike = 1) -> Floats:
    """How much `m` more rollouts lower the plug-in risk D / (1 + k D), D held fixed. For h = 1; broadcasts.

    Between 0 (D = 0) and m / (k (k + m)), rising in `delta2`, falling in `k`.
    """
    count, bias, more = (np.asarray(one, np.float64) for one in (k, delta2, m))
    gain: Floats = more * bias**2 / ((1 + count * bias) * (1 + (count + more) * bias))
    return gain


def gain_rate(k: ArrayLike, delta2: ArrayLike, *, m: ArrayLike = 1, osla: Osla = "discrete") -> Floats:
    """Gain of each of `m` more rollouts, to be compared with the cost of one; for h = 1; broadcasts.

    `discrete` is `osla_gain` / m, `continuous` is (w / k)^2 = (D / (1 + k D))^2 whatever `m`.
    """
    count, bias, more = (np.asarray(one, np.float64) for one in (k, delta2, m))
    rate: Floats = osla_gain(count, bias, m=more) / more if osla == "discrete" else (bias / (1 + count * bias)) ** 2
    return rate


def v05_baseline(rewards: Sequence[float] | Floats, prior: float, *, low: float = -1.0, high: float = 1.0) -> V05:
    """The baseline of one group of k >= 1 rewards in [`low`, `high`], given its prior in the same units.

    Example: rewards (1, 1, 1, 1), prior 0: T = 4, w = 0.75, b = 0.75. Raises `InputError` for an empty group and for rewards or
    a prior outside the range.
    """
    return _fuse_group(_some(rewards, low=low, high=high), prior, low=low, high=high)[0]


def v05_should_stop(
    rewards: Sequence[float] | Floats,
    prior: float,
    *,
    k_max: int = 16,
    cost: float = 1 / 256,
    low: float = -1.0,
    high: float = 1.0,
    osla: Osla = "discrete",
) -> bool:
    """Whether a group of k >= 1 rewards in [`low`, `high`] needs no further rollout.

    True when k >= `k_max`, when the prior is accepted, and when one more rollout gains at most `cost`. `cost` >= 0 is the price
    of a rollout for rewards in [-1, 1]; 1 / k_max^2 is the paper's. Raises `InputError` as `v05_baseline` does.
    """
    check_stopping(k_max=k_max, cost=cost, osla=osla)
    observed = _some(rewards, low=low, high=high)
    _, delta2 = _fuse_group(observed, prior, low=low, high=high)
    return observed.size >= k_max or bool(gain_rate(observed.size, delta2, osla=osla) <= cost)


def stop_k(delta2: float, *, k0: int = 4, k_max: int = 16, cost: float = 1 / 256, osla: Osla = "discrete") -> int:
    """Where sampling would end if D (for h = 1) stayed what it is: the first k >= `k0` whose next rollout is not worth it.

    From `k0` to `k_max`. Raises `InputError` for a D that is negative or not finite, and for settings that cannot be.
    """
    check_stopping(k_max=k_max, cost=cost, osla=osla, k0=k0)
    if not 0 <= delta2 < math.inf:
        raise InputError(f"D is {delta2}; it must be finite and at least 0")
    ends = (k for k in range(k0, k_max) if gain_rate(k, delta2, osla=osla) <= cost)
    return next(ends, k_max)


def run_group(
    prior: float,
    rewards: Sequence[float] | Floats,
    *,
    k0: int = 4,
    k_max: int = 16,
    cost: float = 1 / 256,
    step: int = 1,
    osla: Osla = "discrete",
    low: float = -1.0,
    high: float = 1.0,
) -> GroupRun:
    """Sequential sampling of one group from a stream of rewards drawn beforehand and read in order.

    Starts with `k0`, adds `step` (never beyond `k_max`) while that is worth its cost. Raises `InputError` when the stream ends
    too early, and as `v05_baseline` does.
    """
    check_stopping(k_max=k_max, cost=cost, osla=osla, k0=k0, step=step)
    stream, k = _some(rewards, low=low, high=high), k0
    while True:
        if k > stream.size:
            raise InputError(f"the stream holds {stream.size} rewards and the group needs {k}; draw up to {k_max}")
        fused, delta2 = _fuse_group(stream[:k], prior, low=low, high=high)
        more = min(step, k_max - k)
        if more <= 0 or gain_rate(k, delta2, m=more, osla=osla) <= cost:
            return GroupRun(fused.value, k, fused.weight, fused.rejected)
        k += more


def check_stopping(*, k_max: int, cost: float, osla: str, k0: int = 1, step: int = 1) -> None:
    """Raises `InputError` for settings of sequential sampling that cannot be."""
    if not (1 <= k0 <= k_max and step >= 1):
        raise InputError(f"sampling needs 1 <= k0 <= k_max and step >= 1, got k0 = {k0}, k_max = {k_max}, step = {step}")
    if not (math.isfinite(cost) and cost >= 0):
        raise InputError(f"the cost of a rollout is {cost}; it must be finite and at least 0, such as 1 / k_max**2")
    check_choice("osla", osla, Osla)


@dataclass(frozen=True, kw_only=True)
class V05Baseline:
    """Rewards minus their group's fused baseline, `r - b`: a group of equal rewards still has a gradient unless the prior
    foresaw it, and no standard deviation of a small group blows anything up.

    A group without a prior (None: a prompt never seen before) is judged by leave-one-out means, the same baseline that V0.5
    tends to when its prior is overruled, without the bias; a group of one without a prior keeps its raw reward.
    """

    name: ClassVar[str] = "v05"
    needs: ClassVar[Needs] = Needs(range=True, prior=True)
    """The noise of a mean is bounded by the range of rewards, which the objective declares."""

    norm: Norm = "none"
    """`none`: r - b. `batch_std`: over the standard deviation (n - 1) of all rewards of the batch, as they are when that is 0.
    `bernoulli`: over that of a reward of 0 or 1 with mean b, which explodes where an accepted prior is the least or the largest
    and a rollout disagrees: give it priors that stay inside the range."""
    loo: bool = False
    """Judge each rollout by the prior and the other k - 1 (the prior alone when k = 1): exact gradient at fixed k, not in the
    paper."""

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, Norm, error=ConfigError)

    def advantages(
        self, groups: Sequence[Sequence[float]], *, priors: Sequence[float | None], bounds: Range | None
    ) -> list[Floats]:
        """One array (k_i,) for each group of k_i >= 0 rewards in `bounds`; `priors` in the same units, one a group.

        Raises `InputError` for no bounds, rewards or priors out of them, and another number of priors than groups.
        """
        if bounds is None:
            raise InputError("V0.5's baseline weighs a mean by the range of rewards, and there is none; give `bounds`")
        if len(groups) != len(priors):
            raise InputError(f"{len(groups)} groups came with {len(priors)} priors; give one a group, None when unknown")
        low, high = bounds
        rewards = [ranged_rewards(group, low=low, high=high) for group in groups]
        found = [self._group(group, prior, low=low, high=high) for group, prior in zip(rewards, priors, strict=True)]
        if self.norm == "batch_std":
            deviation = batch_deviation(rewards)
            return [divided(one, deviation, 1e-6) for one in found]
        return found

    def _group(self, rewards: Floats, prior: float | None, *, low: float, high: float) -> Floats:
        if not rewards.size:
            return rewards
        if prior is None:
            centre, centred = float(rewards.mean()), left_one_out(rewards)
        else:
            expected = ranged_prior(prior, low=low, high=high)
            centre = v05_baseline(rewards, expected, low=low, high=high).value
            judge = np.full(rewards.size, centre)
            if self.loo:  # (k,) by the prior and the other rollouts
                others, half = rewards.size - 1, (high - low) / 2
                judge[:] = fuse((rewards.sum() - rewards) / others, expected, others, half=half).value if others else expected
            centred = rewards - judge
        if self.norm != "bernoulli":
            return centred
        # of a reward of `low` or `high` with mean b: sqrt(1 - b^2) + 1e-6 in units of the half range
        spread = math.sqrt(max(0.0, (high - centre) * (centre - low)))
        return centred / (spread + 1e-6 * (high - low) / 2)


def _some(rewards: Sequence[float] | Floats, *, low: float, high: float) -> Floats:
    found = ranged_rewards(rewards, low=low, high=high)
    if not found.size:
        raise InputError("a group without rewards has no mean; give at least one reward")
    return found


def _fuse_group(rewards: Floats, prior: float, *, low: float, high: float) -> tuple[V05, float]:
    """The baseline of a group, and D for h = 1."""
    half = half_range(low=low, high=high)
    fused = fuse(rewards.mean(), ranged_prior(prior, low=low, high=high), rewards.size, half=half)
    return V05(float(fused.value), float(fused.weight), bool(fused.rejected)), float(fused.delta2) / half**2
