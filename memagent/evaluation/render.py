"""`memagent bench render`: how many pictures a second, beside the published way.

One memory of some 2,000 characters, made up, with a number in it that makes every document another one, so that no cache
answers. Rendering is laying out and drawing. The arms take turns, round after round, so that noise of the machine meets
all of them; a round of an arm gives one rate, and the median of the rounds is reported.

`published` re-creates how the MemOCR authors' service draws, without its HTTP: Markdown to HTML with their style sheet, a
kept Chromium with default settings, a new page for each request, a screenshot of the content's box.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

from memagent.errors import ConfigError, InputError
from memagent.evaluation.metrics import percentile
from memagent.evaluation.report import Report, Row, machine_facts
from memagent_renderers.budget import Budget
from memagent_renderers.cache import PictureCache
from memagent_renderers.engines import Engine, make_engine
from memagent_renderers.engines.browser import find_chromium
from memagent_renderers.engines.workers import cores
from memagent_renderers.layout import fit
from memagent_renderers.picture import render, render_batch

PUBLISHED_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
PUBLISHED_CSS = """
body { background: white; margin: 2em; padding: 2em }
.content { display: inline-block; padding: 0; white-space: pre-wrap }
h1, h2, h3, h4, h5, h6, p, ul, ol, blockquote { margin-top: .5em; margin-bottom: .5em; padding: 0 }
ul, ol { margin-left: 20px }
code { background: #f4f4f4; padding: 2px 4px; border-radius: 3px; font-family: 'Courier New', monospace }
pre { background: #f4f4f4; padding: 10px; border-radius: 5px; overflow-x: auto }
"""
_MEMORY = """# Case {number}: the harbour office of Port Selden
## People
- **Margaret Hale** keeps the accounts since 1911; reach her on 555-01{number:04}
- *Tom Ferris*, lighthouse keeper, moved in with his wife and three children in 1934
- Ruth Adeyemi was elected mayor in 2019 with **61 percent** of the vote
- The vet is Dr. Amélie Roux, 14 rue Mercière; she sees the beagle every June
## What was agreed
1. Two barges of gravel a week until the north quay is level, paid by the county
2. Invoices go to the office with the number {number}, never by telephone
3. No work on Tuesdays, when the market is held, nor before nine in the morning

**The dredging must end by 4 October.** The railway closes the siding that day and every barge after it pays a fee.

## Background
The harbour was dredged after two coal ships ran aground within a week. Work took fourteen months and cost 82,400 pounds,
most of it borrowed. Her ledgers are still read by historians of the coast. In winter the keeper repaired clocks and sold
honey in summer. The old station became a library with 12,000 books. Today some 3,150 people live in the town, which lies
48 km north of Carrick, and the fair on the second weekend of June draws visitors from as far as Bergen.

| Item | When | Price |
|---|---|---|
| Gravel, two barges | 4-9 April | 412.50 |
| Rope and tar | 18 August | 689.00 |
| Lamp oil for the quay | 2 November | 57.25 |

> The permit `HB-{number}` expires on 1 February and has to be renewed a month before, in person.

### Open questions
- Does the insurance cover the crane, or only the people who work under it?
- Who keeps the key of the tide gate when Tom is away, and since when?
- Why were the soundings of 12 May left out of the report, although the master had signed them?

<small>She studied marine biology in Halifax and worked on the research vessel Aurora for nine years, before she came here
with her brother, who ran the ferry. He tried pottery once and did not enjoy it. The ferry now sails on Sundays only, and
the crossing takes forty minutes when the tide is in.</small>
"""


@dataclass
class _Arm:
    """A way to turn documents into pictures: `run` returns the seconds of each, or of the whole batch."""

    run: Callable[[Sequence[str]], list[float]]
    count: int
    """Documents in a round."""
    rates: list[float] = field(default_factory=list)
    """Renders per second of each round."""
    seconds: list[float] = field(default_factory=list)
    """Of one render each; for a batch the share of one document."""


def run(
    *,
    budget: int = 256,
    batch: int = 256,
    rounds: int = 5,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure. Where Playwright or Chromium is absent, its arms are left out and `meta` says so."""
    if batch < 1 or rounds < 1:
        raise InputError(f"a round draws at least one picture: batch is {batch}, rounds {rounds}")
    limit, left_out = Budget(budget), dict[str, str]()
    sample = render(document(0), limit)
    with ExitStack() as stack:
        arms = _embedded_arms(limit, batch)
        try:
            arms |= stack.enter_context(_browser_arms(limit, max(1, batch // 8)))
        except ConfigError as error:
            left_out = {"chromium": str(error), "published": str(error)}
        used = _take_turns(arms, rounds, say)
    unseen = [document(used + place) for place in range(1, 65)]
    rates = {name: statistics.median(arm.rates) for name, arm in arms.items()}
    pairs = [("embedded", "published"), ("chromium", "published"), ("embedded_batch", "embedded")]
    meta = {
        "document": {"characters": len(document(0)), "what": "one made-up memory with another number in each copy"},
        "page": {"budget": budget, "width": sample.width, "height": sample.height, "tokens": sample.tokens},
        "layout_p50_ms": percentile(_each(lambda text: fit(text, limit), unseen), 50) * 1e3,
        "rounds": rounds,
        "documents_per_round": {name: arm.count for name, arm in arms.items()},
        "rates": {name: [round(rate, 2) for rate in arm.rates] for name, arm in arms.items()},
        "ratios": {f"{ours}_to_{other}": rates[ours] / rates[other] for ours, other in pairs if {ours, other} <= rates.keys()},
        "usable_cores": cores(),
        "settings": "medians of the rounds; rendering is layout and drawing; all engines and workers were started before",
        "left_out": left_out,
        **machine_facts(),
    }
    rows = []
    for name, arm in arms.items():
        rows.append(Row(method=name, metric="renders_per_second", value=rates[name], n=len(arm.rates)))
        rows.append(Row(method=name, metric="p50_ms", value=percentile(arm.seconds, 50) * 1e3, n=len(arm.seconds)))
    return Report(name="render", rows=rows, meta=meta)


def _take_turns(arms: dict[str, _Arm], rounds: int, say: Callable[[str], None]) -> int:
    """Draw with each arm in turn, a round to warm up first. Returns the number of the last document."""
    used = 0
    for number in range(-1, rounds):
        say(f"round {number + 1} of {rounds}" if number >= 0 else "warming up")
        for name, arm in arms.items():
            used += 0 if name == "embedded_batch" else arm.count  # the batch gets what the arm before it drew
            began = time.perf_counter()
            seconds = arm.run([document(used - place) for place in range(arm.count)])
            if number >= 0:
                arm.rates.append(arm.count / (time.perf_counter() - began))
                arm.seconds += seconds
    return used


def document(number: int) -> str:
    """The memory with this number in it."""
    return _MEMORY.format(number=number)


def _embedded_arms(budget: Budget, batch: int) -> dict[str, _Arm]:
    """`embedded` and `embedded_batch` draw the same documents, `cached` what is in memory already."""
    cache = PictureCache(None)
    render(document(0), budget, cache=cache)

    def cached(texts: Sequence[str]) -> list[float]:
        text = document(0)
        return _each(lambda _: render(text, budget, cache=cache), texts)

    def together(texts: Sequence[str]) -> list[float]:
        began = time.perf_counter()
        render_batch(texts, budget)
        return [(time.perf_counter() - began) / len(texts)]

    return {
        "embedded": _Arm(lambda texts: _each(lambda text: render(text, budget), texts), batch),
        "embedded_batch": _Arm(together, batch),
        "cached": _Arm(cached, batch),
    }


@contextmanager
def _browser_arms(budget: Budget, count: int) -> Iterator[dict[str, _Arm]]:
    engine: Engine = make_engine("browser")
    with closing(engine), _published() as draw:
        yield {
            "chromium": _Arm(lambda texts: _each(lambda text: render(text, budget, engine=engine), texts), count),
            "published": _Arm(lambda texts: _each(draw, texts), max(1, count // 4)),
        }


@contextmanager
def _published() -> Iterator[Callable[[str], bytes]]:
    from markdown_it import MarkdownIt
    from playwright.sync_api import sync_playwright

    parser = MarkdownIt("commonmark").enable("table")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(PUBLISHED_FLAGS))

        def draw(markdown: str) -> bytes:
            page = browser.new_page()  # a new context, as theirs
            try:
                page.set_content(
                    f"<!DOCTYPE html><html><head><meta charset='utf-8'><style>{PUBLISHED_CSS}</style></head><body>"
                    f"<div class='content'>\n{parser.render(markdown)}\n</div></body></html>"
                )
                page.wait_for_load_state("domcontentloaded", timeout=5_000)
                return bytes(page.screenshot(type="png", clip=page.locator(".content").bounding_box(), omit_background=True))
            finally:
                page.close()

        try:
            yield draw
        finally:
            browser.close()


def _each(draw: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """Seconds of each call."""
    taken = []
    for text in texts:
        began = time.perf_counter()
        draw(text)
        taken.append(time.perf_counter() - began)
    return taken
