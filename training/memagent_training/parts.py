"""Parts by kind and name: ours, and those of other packages.

A part is a dataclass; its fields are its settings in a recipe. Other packages add theirs by an entry point in the group
`memagent.allocators`, `memagent.baselines`, `memagent.credits`, `memagent.priors`, `memagent.engines`, `memagent.objectives` or
`memagent.tasks`, under the name that recipes use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any

from pydantic import TypeAdapter, ValidationError

from memagent.errors import ConfigError
from memagent_training.engines import ENGINES
from memagent_training.grpo.allocators import ALLOCATORS
from memagent_training.grpo.baselines import BASELINES
from memagent_training.grpo.credit import CREDITS
from memagent_training.grpo.priors import PRIORS
from memagent_training.objectives import OBJECTIVES
from memagent_training.tasks import TASKS

TABLES: dict[str, Mapping[str, type]] = {
    "task": TASKS,
    "objective": OBJECTIVES,
    "allocator": ALLOCATORS,
    "baseline": BASELINES,
    "credit": CREDITS,
    "prior": PRIORS,
    "engine": ENGINES,
}
DEFAULTS = {
    "task": "cipher",
    "objective": "single_turn",
    "allocator": "uniform",
    "baseline": "group_mean",
    "credit": "outcome",
    "prior": "history",
    "engine": "generate",
}
KINDS = tuple(TABLES)


def part_names(kind: str) -> list[str]:
    """All names of a kind, ours first."""
    return list(dict.fromkeys([*TABLES[kind], *(one.name for one in entry_points(group=f"memagent.{kind}s"))]))


def part_class(kind: str, name: str) -> type:
    """The class of a part. Raises `ConfigError` with the names that there are."""
    if name in TABLES[kind]:
        return TABLES[kind][name]
    for one in entry_points(group=f"memagent.{kind}s", name=name):
        found: type = one.load()
        return found
    raise ConfigError(f'{kind} kind "{name}" is unknown; one of: {", ".join(part_names(kind))}')


def part(kind: str, value: object) -> Any:
    """The part that a recipe's table describes, or `value` itself where it is a part already.

    Raises `ConfigError` for an unknown kind, setting or value.
    """
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        return value
    options = dict(value)
    name = options.pop("kind", DEFAULTS[kind])
    cls = part_class(kind, name)
    known = [field.name for field in fields(cls) if field.init]
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f'[{kind}] "{name}" has no setting `{unknown[0]}`; it has: {", ".join(known) or "none"}')
    try:
        return TypeAdapter(cls).validate_python(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f'[{kind}] "{name}": {first["loc"][0] if first["loc"] else "it"}: {first["msg"]}') from error
