"""How a user's values begin and change: a seeded walk on ordered values, a few variables a period.

The start prefers the middle value, so that both directions are open. A period changes as many variables as drawn from
target ± 1, with those that changed least being likelier; half of the periods begin with a pair from one domain. A change
goes one step with probability 0.8 where the order leaves a choice, else it jumps. The cap on the changes of a variable is
kept unless fewer variables than needed are left under it; how often that happened is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.working_files import State

PAIRED, STEP = 0.5, 0.8


@dataclass(frozen=True)
class Trajectory:
    """The values of one user over all periods."""

    states: list[State]
    """After each period, the start included."""
    changed: list[list[str]]
    """Variables that each period changed, in the order of their drawing; none at the start."""
    counts: dict[str, int]
    """Changes of each variable over all periods."""
    over_cap: int
    """Changes beyond the cap, made because too few variables were left under it."""


def start_state(schema: Mapping[str, Sequence[str]], rng: Random) -> State:
    state = {}
    for variable, values in schema.items():
        weights = [1 + 2 * (0 < place < len(values) - 1) for place in range(len(values))]
        state[variable] = rng.choices(values, weights)[0]
    return state


def evolve(
    schema: Mapping[str, Sequence[str]], domains: Mapping[str, str], *, settings: GeneratorSettings, rng: Random
) -> Trajectory:
    """Draw a trajectory. `domains` names the domain of each variable."""
    states = [start_state(schema, rng)]
    changed: list[list[str]] = [[]]
    counts = Counter(dict.fromkeys(schema, 0))
    over_cap = 0
    for left in range(settings.num_periods, 0, -1):
        room = {variable: settings.max_changes_per_state - counts[variable] for variable in schema}
        picked = _pick(room, domains, count=draw_count(room, left, settings, rng), rng=rng)
        over_cap += sum(room[variable] <= 0 for variable in picked)
        counts.update(picked)
        state = states[-1]
        states.append(state | {variable: _move(schema[variable], state[variable], rng) for variable in picked})
        changed.append(picked)
    return Trajectory(states, changed, dict(counts), over_cap)


def draw_count(room: Mapping[str, int], left: int, settings: GeneratorSettings, rng: Random) -> int:
    """Changes of the next period: no more than leave the least number to each period after it."""
    spare = sum(max(0, one) for one in room.values()) - settings.fewest_changes * (left - 1)
    most = min(settings.most_changes, len(room), max(spare, settings.fewest_changes))
    return rng.randint(min(settings.fewest_changes, most), most)


def _pick(room: Mapping[str, int], domains: Mapping[str, str], *, count: int, rng: Random) -> list[str]:
    """Variables to change, perhaps a pair of one domain first. Those at the cap come last, the least changed of them first."""
    open_to = {variable: one for variable, one in room.items() if one > 0}
    count_open = min(count, len(open_to))
    picked: list[str] = []
    if count_open > 1 and rng.random() < PAIRED:
        sizes = Counter(domains[variable] for variable in open_to)
        linked = {one: weight for one, weight in open_to.items() if sizes[domains[one]] > 1}
        if linked:
            first = _weighted(linked, rng)
            partners = {one: weight for one, weight in linked.items() if one != first and domains[one] == domains[first]}
            picked = [first, _weighted(partners, rng)]
    while len(picked) < count_open:
        picked.append(_weighted({one: weight for one, weight in open_to.items() if one not in picked}, rng))
    closed = sorted((one for one in room if one not in open_to), key=lambda one: -room[one])
    return [*picked, *closed[: count - count_open]]


def _weighted(weights: Mapping[str, int], rng: Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _move(values: Sequence[str], old: str, rng: Random) -> str:
    place = values.index(old)
    near = [value for at, value in enumerate(values) if abs(at - place) == 1]
    far = [value for at, value in enumerate(values) if abs(at - place) > 1]
    return rng.choice(near if not far or rng.random() < STEP else far)
