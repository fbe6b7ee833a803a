"""No test reaches the network, the user's home, or a model that nobody asked for."""

from __future__ import annotations

import gc
import itertools
import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from helpers import real_data
from made_questions import SAMPLES

# Tests of Ctrl-C send SIGINT; a shell that starts this run in the background would have it, and our children, ignore that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_homes = itertools.count()
LOOPBACK = {"127.0.0.1", "::1", "localhost", ""}


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_homes))  # made by whom it is for: most tests need none
    monkeypatch.setenv("MEMAGENT_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MEMAGENT_FALLBACK_FONT", "none")  # pages are the same on every machine
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MEMAGENT_MODEL", "MEMAGENT_STORE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Any:
    """Connections leave this machine only over our dead body."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to connect to {address[0]!r}")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def locomo() -> Path:
    """The LoCoMo file, or a skip."""
    return real_data.needed(real_data.LOCOMO)


@pytest.fixture(scope="session")
def hotpotqa() -> Path:
    """The HotpotQA file, or a skip."""
    return real_data.needed(real_data.HOTPOTQA)


@pytest.fixture(scope="session")
def beam() -> Path:
    """The BEAM file, or a skip."""
    return real_data.needed(real_data.BEAM)


@pytest.fixture(scope="session")
def amemgym_run() -> Path:
    """The folder of a run of AMemGym's released evaluator, or a skip."""
    return real_data.needed(real_data.AMEMGYM_RUN)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A file of three made-up questions in HotpotQA's form."""
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, SAMPLES)) + "\n", "utf-8")
    return path


def pytest_collection_finish() -> None:
    """What was collected stays: looking through it for garbage again and again takes a good part of the time of short tests."""
    gc.collect()
    gc.freeze()
