"""The judge: every page is drawn, shrunk or laid out for each budget, read by the real OCR, and the script answers.

Readings are kept one a line, so that a run that was cut off goes on where it stopped; a page that fails counts as wrong and
is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from time import process_time

from memagent.environments.long_qa.synthetic_qa import WorldQuestion
from memagent.errors import MemAgentError
from memagent.evaluation.runner import end_with_parent
from training.experiments.memocr.answerer import answer
from training.experiments.memocr.eye import ocr, read_page
from training.experiments.memocr.page import Mode, markdown, picture
from training.experiments.memocr.study import Drafted

LARGE = 128
"""Visual tokens above which the OCR takes five to ten seconds a page: the studies read fewer questions there."""


@dataclass(frozen=True)
class Judged:
    """One page at one budget."""

    arm: str
    seed: int
    question: str
    tokens: int
    """Visual tokens of the budget."""
    right: bool
    hops: int
    said: str | None = None
    """The script's answer."""
    paid: int = 0
    """Visual tokens of the picture."""
    seconds: float = 0.0
    """Processor time of drawing and reading."""
    error: str | None = None

    @property
    def key(self) -> tuple[str, int, str, int]:
        """Which page at which budget."""
        return self.arm, self.seed, self.question, self.tokens


@dataclass(frozen=True)
class Job:
    """A page to be read."""

    arm: str
    seed: int
    tokens: int
    page: Drafted

    @property
    def key(self) -> tuple[str, int, str, int]:
        """As `Judged.key`."""
        return self.arm, self.seed, self.page.question.id, self.tokens


def judge(jobs: Sequence[Job], path: Path, *, mode: Mode, workers: int, say: Callable[[str], None]) -> list[Judged]:
    """All jobs judged, those of `path` taken from there; in the order of the jobs."""
    known = {one.key: one for one in kept(path)}
    left = [job for job in jobs if job.key not in known]
    if left:
        say(f"{mode}: reading {len(left)} of {len(jobs)} pictures")
        with (
            path.open("a", encoding="utf-8") as file,
            ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool,
        ):
            for number, one in enumerate(pool.map(_read, left, [mode] * len(left), chunksize=2), 1):
                known[one.key] = one
                file.write(json.dumps(asdict(one)) + "\n")
                file.flush()
                if number % 100 == 0:
                    say(f"{mode}: read {number} of {len(left)}")
    return [known[job.key] for job in jobs]


def kept(path: Path) -> Iterator[Judged]:
    """What a file holds; a last line that was cut off is left out, and taken off the file."""
    if not path.exists():
        return
    lines = path.read_text("utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        path.write_text("".join(lines), "utf-8")
    for line in lines:
        yield Judged(**json.loads(line))


def _read(job: Job, mode: Mode) -> Judged:
    began, question = process_time(), job.page.question
    try:
        said, paid = answer_by_ocr(question, markdown(question, job.page.lines), job.tokens, mode)
    except MemAgentError as error:
        return Judged(*job.key, False, len(question.chain), error=f"{type(error).__name__}: {error}")
    seconds = round(process_time() - began, 3)
    return Judged(*job.key, said == question.answer, len(question.chain), said, paid, seconds)


def answer_by_ocr(question: WorldQuestion, text: str, tokens: int, mode: Mode) -> tuple[str | None, int]:
    """The script's answer from the picture of a page, and the picture's visual tokens."""
    shown = picture(text, tokens, mode)
    return answer(read_page(shown, ocr()), question), shown.tokens
