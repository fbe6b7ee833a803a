"""Thousands of renders leave nothing behind: no process, page, file or descriptor, and little memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memagent_renderers import Budget, PictureCache, render, render_batch
from memagent_renderers.engines import Engine, shared_engine
from memagent_renderers.engines.browser import BrowserEngine
from memagent_renderers.engines.workers import shared_workers

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

ALONE = "MEMAGENT_TEST_ALONE"
"""Set in the process that runs one of these tests and nothing else."""
RENDERS = 5_000
MOST_MB = 60.0
EMBEDDED_RENDERS = 20_000
EMBEDDED_MOST_MB = 30.0
SETTLE_SECONDS = 20.0
BUDGETS = [Budget(tokens) for tokens in (4, 16, 64, 256)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of this test alone, so that they can be counted."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
    monkeypatch.setattr(tempfile, "tempdir", None)


def documents(count: int) -> Iterator[str]:
    """Documents that differ in length, words and colours."""
    for number in range(count):
        lines = (f"- item {number} of *{number * line:x}*, **{number % 97}**" for line in range(number % 40 + 1))
        yield f"# Note {number}\n<font color='#{number * 701 % 0x800000:06x}'>x</font>\n" + "\n".join(lines)


def family() -> set[int]:
    """This process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            facts = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if facts[0] != "Z":
            parents[int(entry.name)] = int(facts[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def kind_of(pid: int) -> str:
    """The program and, for Chromium's, the kind of process; raises `OSError` for one that has ended."""
    words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").split()
    return " ".join([*words[:1], *(word for word in words if "type=" in word)])


def megabytes(strangers: set[int]) -> Counter[str]:
    """Memory by kind of process, shared pages counted once; without strangers, and without Chromium's services.

    Pages of files are left out, for their share depends on who else maps them, and services (`kinds`) because they start
    when they see fit. What is freed but not yet handed back to the system is handed back first: the heap of a process that
    has run a thousand other tests is full of holes, and which of them are filled is chance.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
    kilobytes: Counter[str] = Counter()
    for pid in family() - strangers:
        with contextlib.suppress(OSError):
            kind, lines = kind_of(pid), Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if "--type=utility" not in kind:
                kilobytes[kind] += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return Counter({kind: round(value / 1024) for kind, value in kilobytes.items()})


def kinds() -> Counter[str]:
    """The family by kind of process.

    Chromium starts services of its own when it sees fit, minutes after its start (one that rates the machine for models on
    the device, for instance); one of each kind for each browser is left out.
    """
    found: Counter[str] = Counter()
    for pid in family():
        with contextlib.suppress(OSError):
            found[kind_of(pid)] += 1
    browsers = sum(number for kind, number in found.items() if "chrom" in kind and "type=" not in kind)
    return found - Counter({kind: browsers for kind in found if "--type=utility" in kind})


def held() -> tuple[int, Counter[str], set[str]]:
    """Open descriptors by number, processes by kind, and the files in the folder for temporary ones."""
    return len(os.listdir("/proc/self/fd")), kinds(), set(os.listdir(tempfile.gettempdir()))


def settled(expected: tuple[int, Counter[str], set[str]]) -> tuple[int, Counter[str], set[str]]:
    """What is held, once that is what is expected or some seconds have passed: a closed tab takes a moment to end."""
    end = time.monotonic() + SETTLE_SECONDS
    while (now := held()) != expected and time.monotonic() < end:
        time.sleep(0.1)
    return now


def assert_no_growth(
    work: Callable[[list[str]], object], *, strangers: set[int], renders: int = RENDERS, most: float = MOST_MB
) -> None:
    """Does the work on `renders` documents after a first tenth that may fill caches.

    `strangers` are processes of other tests, a browser above all, whose memory is not this work's.
    """
    every = list(documents(renders + renders // 10))
    work(every[: renders // 10])
    before, memory = held(), megabytes(strangers)
    work(every[renders // 10 :])
    after = megabytes(strangers)
    grown = after.total() - memory.total()
    assert grown < most, f"{renders} renders grew memory by {grown} MB: {memory} became {after}"
    assert settled(before) == before


def done_elsewhere(request: pytest.FixtureRequest) -> bool:
    """Run the test that asks in a process of its own, unless this is that process.

    A process that has run a thousand other tests has their caches and threads, and grows by chance.
    """
    if ALONE in os.environ:
        return False
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow", "-p", "no:cacheprovider", request.node.nodeid]
    environment = os.environ | {ALONE: "1"}
    done = subprocess.run(command, cwd=request.config.rootpath, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return True


def one_by_one(engine: Engine) -> Callable[[list[str]], object]:
    def work(texts: list[str]) -> None:
        for number, text in enumerate(texts):
            render(text, BUDGETS[number % len(BUDGETS)], engine=engine)

    return work


@pytest.mark.timed
@pytest.mark.timeout(900)
def test_the_embedded_engine_keeps_nothing(request: pytest.FixtureRequest) -> None:
    if done_elsewhere(request):
        return
    strangers = family() - {os.getpid()}
    assert_no_growth(one_by_one(shared_engine()), strangers=strangers, renders=EMBEDDED_RENDERS, most=EMBEDDED_MOST_MB)


def test_batches_keep_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if done_elsewhere(request):
        return
    shared_workers().close()
    others, strangers = kinds(), family() - {os.getpid()}
    cache = PictureCache(tmp_path / "cache", max_bytes=5_000_000, memory_bytes=1_000_000)

    def work(texts: list[str]) -> None:
        for start in range(0, len(texts), 125):
            render_batch(texts[start : start + 125], BUDGETS[start // 125 % 4], cache=cache)

    assert_no_growth(work, strangers=strangers)
    assert cache.size <= 6_000_000
    shared_workers().close()
    assert kinds() == others


@pytest.mark.browser
@pytest.mark.timeout(900)
def test_chromium_keeps_nothing(browser: BrowserEngine) -> None:
    others, strangers = kinds(), family() - {os.getpid()}
    engine = BrowserEngine()
    render("# Ada", BUDGETS[0], engine=engine)
    process = engine.pid
    assert_no_growth(one_by_one(engine), strangers=strangers)
    assert engine.pid == process, "the browser was started anew"
    engine.close()
    assert kinds() == others
    assert os.listdir(tempfile.gettempdir()) == []
