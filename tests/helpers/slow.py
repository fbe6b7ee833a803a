"""Marks some of a test's parameters as slow."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*values: object) -> Any:
    """One set of parameters that only the slow suite runs."""
    return pytest.param(*values, marks=pytest.mark.slow)
