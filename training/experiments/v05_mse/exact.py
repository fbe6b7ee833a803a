"""What a baseline is worth, computed exactly: success counts are enumerated, nothing is sampled (V0.5, arXiv 2603.10848).

A prompt pays +1 with probability p = (1 + mu) / 2 and -1 otherwise. k rollouts give s ~ Binomial(k, p) successes, and a
baseline is a function of (s, k), so its error and the gradient that it leads to are finite sums. Sequential sampling carries
the mass over states (k, s) forward and takes out what stops. The policy of the gradients has one logit: score a - p, true
gradient 2 p (1 - p), and a group's estimate is the mean of score x advantage over its own rollouts.

Everything is in units of rewards in [-1, 1] and broadcasts over `mu` (or `p`) and `prior`; scalars give NumPy scalars.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike

from memagent.errors import InputError
from memagent_training.grpo.baselines.v05 import Fusion, Osla, check_stopping, fuse, gain_rate
from memagent_training.grpo.validate import Floats

BaselineName = Literal["mean", "loo", "prior", "v05", "v05_loo"]
"""Baselines whose gradient is known here: group mean, leave-one-out mean, the prior itself, V0.5, V0.5 of the others."""


class ExactFixed(NamedTuple):
    """The baseline of a group of fixed size; each field has the broadcast shape of `mu` and `prior`."""

    mse: Floats
    """E (b - mu)^2."""
    bias: Floats
    """E b - mu."""
    p_reject: Floats
    """Probability that the prior is overruled."""


class ExactSequential(NamedTuple):
    """The baseline of sequential sampling; as `ExactFixed`."""

    mse: Floats
    bias: Floats
    mean_k: Floats
    """E of the rollouts used."""
    p_stop: Floats
    """(..., k_max - k0 + 1) probability that sampling ends with k0, k0 + 1, ... k_max rollouts; sums to 1."""
    p_reject: Floats
    """Probability that the prior is overruled in the end."""


class Moments(NamedTuple):
    """Mean and variance of a gradient estimate."""

    mean: Floats
    var: Floats


class Grid(NamedTuple):
    """The population of the experiment: prompts and what a prior says of them."""

    mu: Floats
    """(10, 1) expected rewards."""
    prior: Floats
    """(10, 21) priors."""
    weight: Floats
    """(10, 21) how often each pair occurs; sums to 1."""

    def mean(self, value: Floats) -> float:
        """The population's mean of a quantity of shape (10, 1) or (10, 21)."""
        return float((self.weight * value).sum())


def standard_grid(*, noise: float = 0.0, bias: float = 0.0) -> Grid:
    """Success rates 0.05, 0.15, ... 0.95 equally often; the prior's log-odds are off by `bias` + `noise` x N(0, 1).

    The normal is a 21-point Gauss-Hermite rule, so averages are sums. `noise` >= 0 and `bias` are in logits.
    """
    nodes, weights = hermegauss(21)
    rate = np.arange(0.05, 1, 0.1)[:, None]
    logit = np.log(rate / (1 - rate)) + bias + noise * nodes
    return Grid(2 * rate - 1, np.tanh(logit / 2), np.tile(weights / weights.sum() / len(rate), (len(rate), 1)))


def exact_fixed(mu: ArrayLike, prior: ArrayLike, k: int) -> ExactFixed:
    """V0.5's baseline after `k` >= 1 rollouts. `mu` and `prior` in [-1, 1], broadcast. Raises `InputError`."""
    mean, expected = _pair(mu, prior)
    mass = binomial(k, (1 + mean) / 2)
    fused = fuse(_means(k), expected[..., None], k)
    error = fused.value - mean[..., None]
    return ExactFixed((mass * error**2).sum(-1), (mass * error).sum(-1), (mass * fused.rejected).sum(-1))


def exact_sequential(
    mu: ArrayLike,
    prior: ArrayLike,
    *,
    k0: int = 4,
    k_max: int = 16,
    cost: float = 1 / 256,
    step: int = 1,
    osla: Osla = "discrete",
) -> ExactSequential:
    """V0.5's baseline when sampling goes from `k0` to at most `k_max`, as `run_group` does. Raises `InputError`."""
    check_stopping(k_max=k_max, cost=cost, osla=osla, k0=k0, step=step)
    mean, expected = _pair(mu, prior)
    mse, bias, mean_k, p_reject = (np.zeros(mean.shape) for _ in range(4))
    p_stop = np.zeros((*mean.shape, k_max - k0 + 1))
    for k, mass, fused in _endings(mean, expected, k0=k0, k_max=k_max, cost=cost, step=step, osla=osla):
        error, ends = fused.value - mean[..., None], mass.sum(-1)
        mse += (mass * error**2).sum(-1)
        bias += (mass * error).sum(-1)
        mean_k += k * ends
        p_stop[..., k - k0] = ends
        p_reject += (mass * fused.rejected).sum(-1)
    return ExactSequential(mse[()], bias[()], mean_k[()], p_stop, p_reject[()])


def bernoulli_gradient(p: ArrayLike, prior: ArrayLike, k: int, baseline: BaselineName) -> Moments:
    """Moments of the gradient from a group of `k` rollouts of a policy with one logit and success rate `p` in [0, 1].

    The true gradient is 2 p (1 - p); `mean` over it is the attenuation. Raises `InputError`.
    """
    rate, expected = _pair(p, prior, low=0)
    mass, gradient = binomial(k, rate), _gradients(rate, expected, k, baseline)
    mean = (mass * gradient).sum(-1)
    return Moments(mean, (mass * gradient**2).sum(-1) - mean**2)


def sequential_gradient(
    p: ArrayLike,
    prior: ArrayLike,
    *,
    baseline: BaselineName = "v05",
    k0: int = 4,
    k_max: int = 16,
    cost: float = 1 / 256,
) -> Moments:
    """As `bernoulli_gradient`, for groups that V0.5's rule sampled; each prompt counts the mean over its own rollouts."""
    check_stopping(k_max=k_max, cost=cost, osla="discrete", k0=k0)
    rate, expected = _pair(p, prior, low=0)
    first, second = np.zeros(rate.shape), np.zeros(rate.shape)
    for k, mass, _ in _endings(2 * rate - 1, expected, k0=k0, k_max=k_max, cost=cost, step=1, osla="discrete"):
        gradient = _gradients(rate, expected, k, baseline)
        first += (mass * gradient).sum(-1)
        second += (mass * gradient**2).sum(-1)
    return Moments(first[()], (second - first**2)[()])


def binomial(k: int, p: ArrayLike) -> Floats:
    """(..., k + 1) probabilities of 0 ... k successes in k trials. Raises `InputError` for a k outside 1 ... 1000."""
    if not 1 <= k <= 1000:
        raise InputError(f"k is {k}; groups of 1 to 1000 rollouts are enumerated")
    rate, hits = np.asarray(p, np.float64)[..., None], np.arange(k + 1)
    ways = np.array([math.comb(k, s) for s in range(k + 1)], np.float64)
    mass: Floats = ways * rate**hits * (1 - rate) ** (k - hits)
    return mass


def _endings(
    mu: Floats, prior: Floats, *, k0: int, k_max: int, cost: float, step: int, osla: Osla
) -> Iterator[tuple[int, Floats, Fusion]]:
    """For every k at which sampling may end: k, the mass (..., k + 1) that ends there by successes, and its baselines."""
    rate, k = (1 + mu) / 2, k0
    mass = binomial(k, rate)
    while True:
        fused, more = fuse(_means(k), prior[..., None], k), min(step, k_max - k)
        if more == 0:
            yield k, mass, fused
            return
        ends = gain_rate(k, fused.delta2, m=more, osla=osla) <= cost
        yield k, mass * ends, fused
        left, drawn = mass * ~ends, binomial(more, rate)  # (..., k + 1), (..., more + 1)
        mass = np.zeros((*left.shape[:-1], k + more + 1))
        for hits in range(more + 1):
            mass[..., hits : hits + k + 1] += left * drawn[..., hits, None]
        k += more


def _gradients(rate: Floats, prior: Floats, k: int, baseline: BaselineName) -> Floats:
    """(..., k + 1) a group's gradient by its successes."""
    hits = np.arange(k + 1)
    after_hit, after_miss = _baselines(prior[..., None], k, baseline)
    p = rate[..., None]
    gradient: Floats = (hits * (1 - p) * (1 - after_hit) + (k - hits) * p * (1 + after_miss)) / k
    return gradient


def _baselines(prior: Floats, k: int, baseline: BaselineName) -> tuple[Floats, Floats]:
    """What a success and a failure are judged by, by the group's successes (last axis, k + 1)."""
    if baseline not in get_args(BaselineName):
        raise InputError(f"`baseline` is {baseline!r}; choose one of: {', '.join(get_args(BaselineName))}")
    if baseline == "prior" or (baseline == "v05_loo" and k == 1):
        return prior, prior
    if baseline == "loo" and k == 1:
        return np.zeros(2), np.zeros(2)
    if baseline in {"mean", "v05"}:
        value = _means(k) if baseline == "mean" else fuse(_means(k), prior, k).value
        return value, value
    hits = np.arange(k + 1)
    # Of k - 1 others, a success leaves hits - 1 and a failure hits; states that cannot be have no weight.
    others = [(2 * np.clip(left, 0, k - 1) - (k - 1)) / (k - 1) for left in (hits - 1, hits)]
    values = others if baseline == "loo" else [fuse(one, prior, k - 1).value for one in others]
    return values[0], values[1]


def _means(k: int) -> Floats:
    """(k + 1,) mean rewards of 0 ... k successes."""
    return (2.0 * np.arange(k + 1) - k) / k


def _pair(first: ArrayLike, prior: ArrayLike, *, low: float = -1.0) -> tuple[Floats, Floats]:
    """Both broadcast to one shape. Raises `InputError` when one is out of its range."""
    one, two = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(prior, np.float64))
    if not ((one >= low) & (one <= 1)).all():
        raise InputError(f"expected rewards lie in [-1, 1] and success rates in [0, 1], got {first!r}")
    if not (np.abs(two) <= 1).all():
        raise InputError(f"priors are expected rewards in [-1, 1], got {prior!r}")
    return one, two
