"""Layout engines by name. Modules are imported when an engine is first asked for, never before."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from memagent_renderers.engines.base import Engine
from memagent_renderers.errors import UnknownName

ENGINES = {
    "embedded": "memagent_renderers.engines.embedded:EmbeddedEngine",
    "browser": "memagent_renderers.engines.browser:BrowserEngine",
    "fake": "memagent_renderers.engines.fake:FakeEngine",
}
"""Name -> where its class lives."""

__all__ = ["ENGINES", "Engine", "make_engine", "shared_engine"]


def make_engine(name: str) -> Engine:
    """A new engine of this name. Raises `UnknownName`, or `MissingExtra` when a part that it needs is absent."""
    if name not in ENGINES:
        raise UnknownName(f"no layout engine is called `{name}`; there are: {', '.join(ENGINES)}")
    module, _, class_name = ENGINES[name].partition(":")
    return cast(Engine, getattr(import_module(module), class_name)())


@cache
def shared_engine(name: str = "embedded") -> Engine:
    """The process's own engine of this name, made on first use."""
    return make_engine(name)
