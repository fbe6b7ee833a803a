"""Every public name says what it is."""

from __future__ import annotations

import inspect
import re
import runpy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

GENERATE = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "generate.py"))


def _public() -> Iterator[tuple[str, object]]:
    for module in GENERATE["PUBLIC"]:
        for name in import_module(module).__all__:
            value = getattr(import_module(module), name)
            if inspect.isclass(value) or inspect.isroutine(value):
                yield f"{module}.{name}", value
    for module, table in GENERATE["TABLES"].values():
        yield from ((f"{module}: {name}", cls) for name, cls in GENERATE["registered"](module, table))


@pytest.mark.parametrize(("name", "value"), [pytest.param(*one, id=one[0]) for one in _public()])
def test_a_public_name_has_a_docstring_that_informs(name: str, value: object) -> None:
    doc = (value.__doc__ if inspect.isclass(value) else inspect.getdoc(value)) or ""
    assert len(doc) > 30, f"{name}: {doc!r}"
    assert not re.fullmatch(r"See `[^`]+`\.?", doc), name
    assert not doc.startswith(f"{getattr(value, '__name__', '')}("), f"{name} has the docstring that dataclass makes"
