"""CoBA-RL: the rollouts of a batch go where the policy, as able as it is now, learns most from them.

A prompt of pass rate p with B rollouts is worth V(B, p) = (1 - exp(-B p(1-p)/tau)) * Beta(p; alpha, beta). The first
factor saturates: more rollouts of one prompt add less and less, so that taking the largest gain first is optimal. The
second is a preference for pass rates; its mode is the warped failure rate of the last steps, so that a weak policy is
sent to prompts it mostly solves and a strong one to prompts it mostly fails. Total and bounds are kept.

Paper and released code differ. `paper` is Algorithm 1: all units by gain. `released` gives 60 to 80 % of the units by
gain, to prompts between 5 and 99 % only, and the rest first to prompts below 5 %. Source: arXiv 2602.03048 v3
(equations 3-9, Algorithm 1) and its code at aa6b834.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, overload

import numpy as np

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.allocators.base import OneRound
from memagent_training.grpo.allocators.solvers import (
    UNKNOWN_RATE,
    Many,
    Rates,
    check_bounds,
    check_unit,
    checked_problem,
    even_split,
    filled_rates,
    greedy_allocate,
)
from memagent_training.grpo.needs import Needs
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.grpo.validate import Floats, check_choice

Mode = Literal["paper", "released"]
Spill = Literal["released", "fair"]

WARP_SLOPE = 10.0
RATE_CLIP = (0.01, 0.99)
TAU_RANGE = (3.0, 12.0)
FULL_VARIANCE = 0.1667
"""The variance of pass rates at which tau reaches its largest value."""
HARD_BELOW, EASY_ABOVE = 0.05, 0.99
MIN_SHARE, MAX_SHARE = 0.6, 0.8
WEIGHT_CLIP = 1e-6


def coba_warp(failure: float) -> float:
    """The failure rate as it is above 0.5, sigmoid(10 (failure - 0.5)) at or below [paper equation 6].

    `failure` in [0, 1], else `InputError`. Continuous at 0.5: 0.7 -> 0.7, 0.4 -> 0.269, 0.2 -> 0.047.
    """
    check_unit(failure, name="failure rate")
    return failure if failure > 0.5 else 1.0 / (1.0 + math.exp(-WARP_SLOPE * (failure - 0.5)))


def coba_shape(failure: float, *, kappa: float = 11.0) -> tuple[float, float]:
    """The Beta shape (alpha, beta) for a failure rate that is not warped yet [paper equation 7].

    alpha = 1 + (kappa - 2) * coba_warp(failure), beta = kappa - alpha, both in [1, kappa - 1]. The mode of that density
    is the warped failure rate: 0.7 -> (7.3, 3.7). `kappa` = 2 is the flat density. Raises `InputError` for a failure
    rate outside [0, 1] and `kappa` < 2.
    """
    if not 2.0 <= kappa < math.inf:
        raise InputError(f"`kappa` is {kappa}; it is alpha + beta and each is at least 1: give 2 (flat) or more, published 11")
    alpha = 1.0 + (kappa - 2.0) * coba_warp(failure)
    return alpha, kappa - alpha


@overload
def coba_value(budget: float, pass_rate: float, *, tau: float, alpha: float, beta: float) -> float: ...
@overload
def coba_value(budget: Many, pass_rate: float, *, tau: float, alpha: float, beta: float) -> Floats: ...
@overload
def coba_value(budget: float | Many, pass_rate: Many, *, tau: float, alpha: float, beta: float) -> Floats: ...
def coba_value(budget: float | Many, pass_rate: float | Many, *, tau: float, alpha: float, beta: float) -> float | Floats:
    """V(B, p) = (1 - exp(-B p(1-p)/tau)) * BetaPDF(p; alpha, beta) [paper equations 5, 8, 9].

    `budget` >= 0 and `pass_rate` in [0, 1] are numbers or arrays that broadcast together; the result is a float for two
    numbers, else an array. p is clipped to [0.01, 0.99]. Raises `InputError` out of range, and unless `tau`, `alpha`
    and `beta` are above 0.
    """
    budgets, rates = np.asarray(budget, np.float64), np.asarray(pass_rate, np.float64)
    _check_positive(tau=tau, alpha=alpha, beta=beta)
    check_unit(rates, name="pass rate")
    if not (budgets >= 0.0).all():
        raise InputError("a budget is negative or NaN; give 0 rollouts or more")
    clipped = np.clip(rates, *RATE_CLIP)
    value = -np.expm1(-budgets * clipped * (1.0 - clipped) / tau) * _density(clipped, alpha=alpha, beta=beta)
    return float(value) if value.ndim == 0 else value


def coba_tau(pass_rates: Many) -> float:
    """The saturation temperature of a batch: 3 when all rates are alike, 12 when they spread widely [released code].

    3 + 9 * clip(var/0.1667, 0, 1), var the population variance of the rates (M,) clipped to [0.01, 0.99]; 3 for none.
    Raises `InputError` for a rate outside [0, 1].
    """
    rates = np.asarray(pass_rates, np.float64)
    check_unit(rates, name="pass rate")
    if rates.size == 0:
        return TAU_RANGE[0]
    spread = min(float(np.var(np.clip(rates, *RATE_CLIP))) / FULL_VARIANCE, 1.0)
    return TAU_RANGE[0] + (TAU_RANGE[1] - TAU_RANGE[0]) * spread


def coba_allocate(
    pass_rates: Rates,
    total: int,
    *,
    low: int,
    high: int,
    mode: Mode = "paper",
    failure: float | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    tau: float | None = None,
    kappa: float = 11.0,
    spill: Spill = "released",
) -> list[int]:
    """How many of `total` rollouts each prompt of a batch gets, `low` to `high` each [paper Algorithm 1].

    `pass_rates` (M,) in [0, 1], None = never visited, acts as 0.5. The sum is min(total, M * high). An even split, the
    first ones taking the remainder, is returned when no rate is known or `total` < M * low (then below `low`).

    - `mode="paper"`: after `low` for each, unit by unit to the largest gain V(B + 1, p) - V(B, p), ties to the lowest
      position. This is the optimum of sum V(B_i, p_i).
    - `mode="released"`: hard is p < 0.05, easy p > 0.99, mid the rest. The share 0.6 + 0.4 |mid|/M, at most 0.8, of the
      units beyond `low` (rounded down) goes by gain to mid alone; what is left is offered to hard, then to mid, then to
      easy, by weights 1 - p. `spill="released"` keeps a quirk of that code: the rest shrinks while it is handed out, so
      that earlier prompts of a set get more (9 units for three equals: 4, 3, 2). Where that code drops units because a
      prompt filled up in its last round, we offer them again, so that the sum holds. `spill="fair"` rounds by largest
      remainder instead (3, 3, 3) and fills a set before it goes on.

    The preferred pass rate comes from `alpha` and `beta` if given, else from `coba_shape(failure, kappa=kappa)`, where
    `failure` is the failure rate of the last steps, by default 1 - the mean of the known rates. `tau` is by default
    `coba_tau` of all rates (`paper`) or of mid's (`released`). Empty in, empty out. Raises `InputError` for rates or a
    failure rate outside [0, 1], `low` > `high`, negative counts, an unknown mode or spill, or `alpha` without `beta`.
    """
    total, low, high = checked_problem(total, low=low, high=high)
    check_choice("mode", mode, Mode)
    check_choice("spill", spill, Spill)
    rates, known = filled_rates(pass_rates)
    shape = _shape(pass_rates, failure=failure, alpha=alpha, beta=beta, kappa=kappa)
    count = len(rates)
    if known == 0 or total < count * low:
        return even_split(total, count, high=high)
    units = total - count * low
    if mode == "paper":
        gains = _gains(rates, low=low, high=high, tau=tau, shape=shape)
        return [low + more for more in greedy_allocate(gains, units)]
    return _released(rates, units, low=low, high=high, tau=tau, shape=shape, fair=spill == "fair")


@dataclass(frozen=True, kw_only=True)
class CobaAllocator(OneRound):
    """CoBA-RL's budgets from the pass rates and the failure rate of the history."""

    name: ClassVar[str] = "coba"
    ragged: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(correct=True)

    low: int = 2
    """Least rollouts of a prompt; 2 keeps a group's spread defined."""
    high: int = 128
    """Most rollouts of a prompt."""
    kappa: float = 11.0
    """alpha + beta, at least 2: how sharp the preference is."""
    mode: Mode = "released"
    """`released`: what the published script runs; `paper`: Algorithm 1."""
    spill: Spill = "released"
    """How `released` rounds the rest; `fair` is ours."""
    reverse: bool = False
    """Swap alpha and beta: the ablation that explores first and exploits later."""
    shape: tuple[float, float] | None = None
    """A fixed (alpha, beta) in place of the one that follows the failure rate."""

    def __post_init__(self) -> None:
        try:
            checked_problem(0, low=self.low, high=self.high)
            check_choice("mode", self.mode, Mode)
            check_choice("spill", self.spill, Spill)
            coba_shape(0.5, kappa=self.kappa)
            if self.shape is not None:
                alpha, beta = self.shape
                _check_positive(alpha=alpha, beta=beta)
        except (InputError, TypeError, ValueError) as error:
            raise ConfigError(f"allocator `coba`: {error}") from error

    def check(self, *, prompts: int, group_size: int) -> None:
        """Raises `ConfigError` unless `low` <= `group_size` <= `high`: a whole batch could not be shared out within them."""
        check_bounds(self.name, low=self.low, high=self.high, group_size=group_size)

    def first(self, prompts: Sequence[str], *, total: int, history: PromptStats) -> list[int]:
        """Budgets by `coba_allocate`; an even split before any of the prompts was visited."""
        alpha, beta = self.beta_shape(history)
        return coba_allocate(
            [history.pass_rate(prompt) for prompt in prompts],
            total,
            low=self.low,
            high=self.high,
            mode=self.mode,
            alpha=alpha,
            beta=beta,
            spill=self.spill,
        )

    def metrics(self, *, history: PromptStats) -> dict[str, float]:
        """The shape of the value function, and the failure rate behind it once a step has been recorded."""
        alpha, beta = self.beta_shape(history)
        shape = {"coba/alpha": alpha, "coba/beta": beta}
        return shape if history.failure is None else shape | {"coba/failure": history.failure}

    def beta_shape(self, history: PromptStats) -> tuple[float, float]:
        """(alpha, beta) of the next step; (kappa - 2, 2) while the history has pass rates but no step yet."""
        if self.shape is not None:
            alpha, beta = self.shape
        elif history.failure is not None:
            alpha, beta = coba_shape(history.failure, kappa=self.kappa)
        else:
            alpha = max(self.kappa - 2.0, 1.0)
            beta = self.kappa - alpha
        return (beta, alpha) if self.reverse else (alpha, beta)


def _density(rates: Floats, *, alpha: float, beta: float) -> Floats:
    """BetaPDF by logarithms, for rates inside (0, 1)."""
    norm = math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
    return np.asarray(np.exp((alpha - 1.0) * np.log(rates) + (beta - 1.0) * np.log1p(-rates) - norm), np.float64)


def _gains(rates: Floats, *, low: int, high: int, tau: float | None, shape: tuple[float, float]) -> Floats:
    """(M, high - low): V(B + 1, p) - V(B, p) for B = low .. high - 1, as D(p) (1 - e^-u) e^(-uB), u = p(1-p)/tau.

    The closed form stays exact where differences of saturated values would all round to zero.
    """
    temperature = coba_tau(rates) if tau is None else tau
    _check_positive(tau=temperature)
    clipped = np.clip(rates, *RATE_CLIP)
    pace = clipped * (1.0 - clipped) / temperature
    start = _density(clipped, alpha=shape[0], beta=shape[1]) * -np.expm1(-pace)
    return np.asarray(start[:, None] * np.exp(-pace[:, None] * np.arange(low, high)), np.float64)


def _released(
    rates: Floats, units: int, *, low: int, high: int, tau: float | None, shape: tuple[float, float], fair: bool
) -> list[int]:
    count = len(rates)
    hard = [position for position in range(count) if rates[position] < HARD_BELOW]
    easy = [position for position in range(count) if rates[position] > EASY_ABOVE]
    mid = [position for position in range(count) if HARD_BELOW <= rates[position] <= EASY_ABOVE]
    share = MAX_SHARE if len(mid) > count / 2 else MIN_SHARE + (MAX_SHARE - MIN_SHARE) * (2 * len(mid) / count)
    budgets = [low] * count
    if mid:
        gains = _gains(rates[mid], low=low, high=high, tau=tau, shape=shape)
        for position, more in zip(mid, greedy_allocate(gains, math.floor(units * share)), strict=True):
            budgets[position] += more
    left = units - (sum(budgets) - low * count)
    weights: list[float] = (1.0 - np.clip(rates, WEIGHT_CLIP, 1.0 - WEIGHT_CLIP)).tolist()
    hand_out = _spill_fair if fair else _spill_released
    while left and min(budgets) < high:  # once is enough unless a prompt filled up in the even round
        for members in (hard, mid, easy):
            open_ = [position for position in members if budgets[position] < high]
            left = hand_out(left, open_, budgets, weights=weights, high=high)
    return budgets


def _spill_released(left: int, members: list[int], budgets: list[int], *, weights: list[float], high: int) -> int:
    """Hand out `left` in place, as the released code does: by weight, then evenly, once; returns what did not fit then."""
    norm = sum(weights[position] for position in members)
    for position in members:
        more = min(math.floor(left * weights[position] / norm), high - budgets[position])
        budgets[position] += more
        left -= more
    members = [position for position in members if budgets[position] < high]
    for position, part in zip(members, even_split(left, len(members)), strict=True):
        more = min(part, high - budgets[position])
        budgets[position] += more
        left -= more
    return left


def _spill_fair(left: int, members: list[int], budgets: list[int], *, weights: list[float], high: int) -> int:
    """Hand out `left` in place by weight and largest remainder, refilling what full members leave; returns the rest."""
    while left and members:
        norm = sum(weights[position] for position in members)
        quotas = {position: left * weights[position] / norm for position in members}
        full = [position for position in members if quotas[position] >= high - budgets[position]]
        for position in full:
            left -= high - budgets[position]
            budgets[position] = high
        members = [position for position in members if position not in full]
        if not full:
            parts = {position: math.floor(quotas[position]) for position in members}
            by_remainder = sorted(members, key=lambda position: parts[position] - quotas[position])  # stable: low first
            for position in by_remainder[: left - sum(parts.values())]:
                parts[position] += 1
            for position, part in parts.items():
                budgets[position] += part
            return 0
    return left


def _shape(
    pass_rates: Rates, *, failure: float | None, alpha: float | None, beta: float | None, kappa: float
) -> tuple[float, float]:
    if (alpha is None) != (beta is None):
        raise InputError(f"`alpha` is {alpha} and `beta` {beta}; give both, or neither and a `failure` rate")
    if alpha is not None and beta is not None:
        _check_positive(alpha=alpha, beta=beta)
        return alpha, beta
    if failure is None:
        known = [rate for rate in pass_rates if rate is not None]
        failure = 1.0 - sum(known) / len(known) if known else UNKNOWN_RATE
    return coba_shape(failure, kappa=kappa)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise InputError(f"`{name}` is {value}; give a finite number above 0")
