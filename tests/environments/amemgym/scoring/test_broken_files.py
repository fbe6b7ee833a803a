"""Spoilt files give a report or an error of ours, never another one."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers.amemgym_reports import run, write
from helpers.synthetic_users import chosen, made_items, perfect_utilization, probes

from memagent.errors import MemAgentError

ODD: list[Any] = [None, 0, 2.5, True, "x", "", [], {}, [[]], {"answer": 1}, {"raw_response": 3}, {"results": [None]}, 10**400]


def _spoilt(value: Any, draw: Random) -> Any:
    """A copy with something odd, missing, doubled or wrapped at a random place."""
    copy = json.loads(json.dumps(value))
    holder: Any = [copy]
    key: Any = 0
    for _ in range(draw.randint(1, 6)):
        node = holder[key]
        if not isinstance(node, list | dict) or not node:
            break
        holder, key = node, draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
    match draw.randrange(4):
        case 0 if isinstance(holder, list):
            holder.append(holder[key])
        case 1:
            del holder[key]
        case 2:
            holder[key] = [holder[key]]
        case _:
            holder[key] = draw.choice(ODD)
    return copy


@pytest.mark.parametrize("seed", range(60))
def test_a_spoilt_file_gives_a_report_or_an_error_of_ours(seed: int, tmp_path: Path) -> None:
    draw, items = Random(seed), made_items(2)
    whole: dict[str, Any] = {
        "data": [item.model_dump(mode="json") for item in items],
        "overall": list(chosen(items, lambda item, p, q: (p + q) % 4).values()),
        "probes": [probes(item, lambda name, p: p % 2 == 0) for item in items],
        "bound": perfect_utilization(items),
    }
    spoilt = draw.choice(list(whole))
    whole[spoilt] = _spoilt(whole[spoilt], draw)
    data, bound = write(tmp_path / "data.json", whole["data"]), write(tmp_path / "bound.json", whole["bound"])
    for name, key in (("overall_results.json", "overall"), ("diagnosis_results.json", "probes")):
        for user, matrix in enumerate(whole[key] if isinstance(whole[key], list) else [whole[key]]):
            write(tmp_path / "run" / f"u{user}" / name, matrix)
    flags = ["--compat"] if draw.random() < 0.3 else []
    command = draw.choice(
        [
            ["score"],
            ["diagnose"],
            ["bounds", "--utilization", bound],
        ]
    )
    with suppress(MemAgentError):
        assert run(*command, "--results", tmp_path / "run", "--data", data, *flags)["report"] == 1
