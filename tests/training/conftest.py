"""Training tests: offline, one thread, tiny policies, and third-party warnings named one by one."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OFFLINE = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
for _name in OFFLINE:
    os.environ[_name] = "1"  # read when huggingface_hub is imported ...
    if "huggingface_hub.constants" in sys.modules:
        setattr(sys.modules["huggingface_hub.constants"], _name, True)  # ... which another folder's tests may have done

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two cores are shared; tiny tensors are slower on more threads anyway."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _frozen() -> Iterator[None]:
    """accelerate collects garbage whenever a run starts, which takes longer than the run unless the libraries are left out."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


WARNINGS = (
    # transformers 5.23 renamed its checkpointing attributes; TRL 1.16 and accelerate still ask for the old names
    "ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))
