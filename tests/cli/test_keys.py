"""`memagent keys`: kept in a private file and never printed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from invocations import data, invoke, run

from memagent.errors import InputError, NotFound


def test_keys_are_kept_and_never_shown() -> None:
    result = invoke("keys", "set", "openai", stdin="sk-canary-1\n")
    assert result.exception is None
    assert "sk-canary" not in result.output
    file = Path(os.environ["MEMAGENT_HOME"]) / "keys.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = invoke("keys", "list")
    assert (listed.stdout.split(), listed.exception) == (["openai", "file"], None)
    assert data("keys", "list") == {"providers": ["openai"]}
    assert data("keys", "remove", "openai") == {"provider": "openai", "removed": True}
    with pytest.raises(NotFound, match="openai"):
        run("keys", "remove", "openai")


@pytest.mark.parametrize("key", ["", "two words"])
def test_what_is_no_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(InputError, match="Nothing was saved") as refused:
        run("keys", "set", "openai", stdin=key)
    assert "two" not in str(refused.value)
