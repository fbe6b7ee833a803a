"""Worlds in which a memory is tested: one folder a family, none of them needs a model to be read or scored.

`ENVIRONMENTS` names those that an agent acts in (`memagent.environments.base.Environment`). Plug-ins add theirs by the
entry-point group `memagent.environments`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

ENVIRONMENTS = {
    "amemgym": "memagent.environments.amemgym.environment:AMemGymEnvironment",
    "long_qa": "memagent.environments.long_qa.environment:LongQaEnvironment",
}
GROUP = "memagent.environments"


def load_environment(name: str) -> type:
    """The class of an environment. Raises `UnknownName` naming the nearest one that exists."""
    from memagent.errors import unknown_name

    found: object = None
    if name in ENVIRONMENTS:
        module, attribute = ENVIRONMENTS[name].split(":")
        found = getattr(import_module(module), attribute)
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    if name in plugins:
        found = plugins[name].load()
    if not isinstance(found, type):
        raise unknown_name("environment", name, [*ENVIRONMENTS, *plugins])
    return found
