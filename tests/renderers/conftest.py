"""Documents and engines that the tests of `renderers` share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memagent_renderers import layout, styled_blocks
from memagent_renderers.engines.browser import BrowserEngine, find_chromium
from memagent_renderers.fonts import fallback

PROSE = """The harbour of Port Selden was dredged in 1911 after two coal ships ran aground within a week. Work took
fourteen months and cost 82,400 pounds, most of it borrowed from the county. Margaret Hale kept the accounts, and her
ledgers are still read by historians of the coast. In 1934 the lighthouse keeper, Tom Ferris, moved to the village
with his wife and three children. He repaired clocks in winter and sold honey in summer. The railway closed on
4 October 1962, and the old station became a library with 12,000 books. Today some 3,150 people live in the town,
which lies 48 km north of Carrick. Its market is held on Tuesdays, and the fair on the second weekend of June draws
visitors from as far as Bergen. The mayor, Ruth Adeyemi, was elected in 2019 with 61 percent of the vote. She studied
marine biology in Halifax and worked on the research vessel Aurora for nine years.
"""

MEMORY = """# Ada Kowalska, user since March 2024
## Family and home
- Lives in **Lyon**, 14 rue Mercière, moved from Kraków on 3 May 2023
- Dog called *Biscuit*, a beagle born 12 June 2021; vet is Dr. Amélie Roux (04 78 55 12 90)
  - Jan is allergic to peanuts

**Never book flights before 9 in the morning.**

## Work
Ada is a restorer of paper and books at the municipal library. Her current project is a Ptolemy atlas of 1513, on loan
until 30 November. She prefers short answers and pays with the `blue` card.

<small>She once tried pottery and did not enjoy it.</small>

| Trip | When | Price |
|---|---|---|
| Porto | 4-9 April | 412.50 € |
| Bergen | 18 August | 689 € |

> The passport expires 2027-02-01.

1. Buy linen thread and wheat starch paste
2. Renew the tram pass
"""


@pytest.fixture
def prose() -> str:
    return PROSE


@pytest.fixture
def memory() -> str:
    return MEMORY


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserEngine]:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if find_chromium() is None:
        pytest.skip("Chromium is not installed")
    engine = BrowserEngine()
    yield engine
    engine.close()


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What was measured with one fallback is not used with the next."""
    yield
    for kept in (layout._fit, styled_blocks.width_of, styled_blocks._units, fallback._asked_for, fallback._face_of):
        kept.cache_clear()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> Callable[..., None]:
    """Takes fallback fonts from these files."""

    def chosen(*paths: Path) -> None:
        monkeypatch.setenv(fallback.VARIABLE, os.pathsep.join(map(str, paths)))

    return chosen


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> Callable[..., None]:
    """Uses the fonts of this machine; skips where it has none for these characters."""

    def use_or_skip(characters: str, what: str) -> None:
        monkeypatch.delenv(fallback.VARIABLE)
        if not all(map(fallback.face_of, characters)):
            pytest.skip(f"no font for {what} here")

    return use_or_skip
