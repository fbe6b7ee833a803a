"""Reports that must not change unnoticed: how each is made, and what of it is compared.

    PYTHONPATH=tests MEMAGENT_FALLBACK_FONT=none python -m golden.runs [NAME ...]

writes the fixtures anew. Whoever does so says in the CHANGELOG which numbers changed, and why.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from helpers.real_data import HOTPOTQA, LOCOMO

FOLDER = Path(__file__).parent
TIMINGS = ("latency_p50_ms", "ocr_seconds")
TRAINED = ("loss", "reward", "reward_std", "correct", "entropy", "grad_norm", "rollouts/total", "rollouts/dead_share")
DIGITS = 6
Rows = list[dict[str, Any]]


def recall() -> Rows:
    """Search on the LoCoMo dialogues."""
    from memagent.evaluation.recall import run

    return _rows(run(LOCOMO).rows)


def long_qa() -> Rows:
    """Five questions about 10,000 tokens without a model, by every method."""
    from memagent.environments.long_qa.report import run
    from memagent.environments.long_qa.settings import LongQaSettings

    return _rows(run(HOTPOTQA, LongQaSettings(lengths=("10K",), limit=5, reader="simulated")).rows)


def visual_memory() -> Rows:
    """Four questions: what pictures and texts still show."""
    from memagent.environments.long_qa.visual_memory import run, settings

    return _rows(run(HOTPOTQA, settings(limit=4, reader="simulated")).rows)


def amemgym() -> Rows:
    """Two procedural users read by rules, within 256 tokens."""
    from memagent.environments.amemgym.run import AmemgymSettings, run

    [report] = run(AmemgymSettings(limit=2, budgets=(256,), workers=1))
    return _rows(report.rows)


def train() -> Rows:
    """Five steps of the demo recipe."""
    from memagent_training.cli import main

    with tempfile.TemporaryDirectory() as folder:
        asked = ["run", "--recipe", "demo", "--steps", "5", "--out", folder, "--quiet", "--set", "log_every=1"]
        assert main(asked) in (0, None)
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{"step": line["step"], **{name: round(line[name], DIGITS) for name in TRAINED if name in line}} for line in lines]


RUNS: dict[str, tuple[Callable[[], Rows], Path | None]] = {
    "recall": (recall, LOCOMO),
    "long_qa": (long_qa, HOTPOTQA),
    "visual_memory": (visual_memory, HOTPOTQA),
    "amemgym": (amemgym, None),
    "train": (train, None),
}
"""How a report is made, and the data that it needs."""


def file_of(name: str) -> Path:
    """The fixture of a run."""
    return FOLDER / f"{name}.json"


def _rows(rows: Sequence[Any]) -> Rows:
    """Rows without timings, and without what follows from others: intervals."""
    return [
        {
            "method": row.method,
            "metric": row.metric,
            "at": row.at,
            "value": round(row.value, DIGITS),
            "n": row.n,
            **({"length": row.length} if row.length else {}),
        }
        for row in rows
        if row.metric not in TIMINGS
    ]


def write(names: Sequence[str]) -> None:
    """Write fixtures anew, a line for each row."""
    for name in names or RUNS:
        rows = RUNS[name][0]()
        file_of(name).write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", "utf-8")
        print(f"{file_of(name)}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    write(sys.argv[1:])
