"""`memagent amemgym`: make, check, convert and score AMemGym files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memagent.cli.amemgym_generate import generate
from memagent.cli.common import Json, print_json, print_result, print_status, print_text, table

if TYPE_CHECKING:
    from memagent.environments.amemgym.data import UserItem
    from memagent.evaluation.report import Report

app = typer.Typer(no_args_is_help=True, help="Make, check, convert and score AMemGym data and results.")
app.command()(generate)

Data = Annotated[Path, typer.Option("--data", metavar="FILE", help="The environment file, data.json.")]
MaybeData = Annotated[
    Path | None, typer.Option("--data", metavar="FILE", help="The environment file. Without it: what the records say.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail when the data break a rule (I1 to I11).")]
Method = Annotated[str, typer.Option(metavar="NAME", help="What the report calls the results.")]
Compat = Annotated[bool, typer.Option("--compat", help="Score as the released code does.")]
Seed = Annotated[int, typer.Option(help="Of the draws behind the intervals.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Also save JSON, Markdown and a plot here.")]
Files = Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the official metric files here.")]


@app.command()
def check(data: Data, *, strict: Strict = False, as_json: Json = False) -> None:
    """Check an environment file against the rules I1 to I11, with places.

    Example: memagent amemgym check --data data.json --strict --json
    """
    from dataclasses import asdict

    from memagent.environments.amemgym.validate import check_items

    items = _read(data, strict)
    violations = check_items(items)
    found: dict[str, Any] = {
        "users": len(items),
        "periods": sum(len(item.periods) for item in items),
        "sessions": sum(len(period.sessions) for item in items for period in item.periods),
        "updates": sum(len(period.updates) for item in items for period in item.periods),
        "questions": sum(len(item.qas) for item in items),
        "options": sum(len(question.answer_choices) for item in items for question in item.qas),
    }
    lines = [*(f"{name}: {number}" for name, number in found.items()), *map(str, violations)]
    print_result({**found, "violations": [asdict(one) for one in violations]}, "\n".join(lines), as_json)


@app.command()
def convert(
    *,
    raw: Annotated[Path, typer.Option(metavar="DIR", help="A folder with <user>/<stage>.json of the generator.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The environment file to write.")],
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Make an environment file of the generator's working files.

    Example: memagent amemgym convert --raw raw --out data.json
    """
    from memagent.environments.amemgym.data import save_items
    from memagent.environments.amemgym.generate.working_files import convert as convert_raw
    from memagent.environments.amemgym.validate import check_items
    from memagent.errors import InputError

    found = convert_raw(raw)
    violations = check_items(found.items)
    if strict and (violations or found.dropped):
        first = violations[0] if violations else next(f"user {user}: {why}" for user, why in found.dropped.items())
        raise InputError(f"nothing was written: {len(violations)} rules broken, {len(found.dropped)} users dropped; {first}")
    save_items(found.items, out)
    for user, reason in found.dropped.items():
        print_status(f"dropped user {user}: {reason}")
    facts = {"file": str(out), "users": len(found.items), "dropped": found.dropped, "violations": len(violations)}
    text = f"{len(found.items)} users in {out}, {len(found.dropped)} dropped, {len(violations)} rules broken"
    print_result(facts, text, as_json)


@app.command()
def score(
    *,
    results: Annotated[Path, typer.Option(metavar="FILE", help="overall_results.json, or a folder with one for each user.")],
    data: MaybeData = None,
    metrics: Annotated[str, typer.Option(help="accuracy, hamming, jaccard, with commas.")] = "accuracy",
    compat: Compat = False,
    strict: Strict = False,
    method: Method = "results",
    seed: Seed = 0,
    files: Files = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Accuracy of answers by period, with intervals over users.

    Example: memagent amemgym score --data data.json --results eval-output/agent --json
    """
    from memagent.environments.amemgym.official_format import read_answers, usage_totals
    from memagent.environments.amemgym.scoring.answers import parse_metrics, score_answers, score_report

    items = _items(data, strict)
    answers = read_answers(results, items=items)
    scores = score_answers(answers, items, compat=compat, metrics=parse_metrics(metrics))
    meta = {**_facts(items, data, results), "usage": usage_totals(answers)}
    _per_user(files, "overall_metrics.json", scores.official())
    _show(score_report(scores, method=method, seed=seed, meta=meta), out, as_json)


@app.command()
def diagnose(
    *,
    results: Annotated[Path, typer.Option(metavar="FILE", help="diagnosis_results.json, or a folder with one for each user.")],
    overall: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Overall results, for the rates. Default: those in the same folder.")
    ] = None,
    data: MaybeData = None,
    compat: Compat = False,
    strict: Strict = False,
    method: Method = "results",
    seed: Seed = 0,
    files: Files = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Where wrong answers arose: writing, reading or using. Counts of each question, and rates.

    Example: memagent amemgym diagnose --results eval-output/agent --json
    """
    from memagent.environments.amemgym.official_format import beside, read_answers, read_probes
    from memagent.environments.amemgym.scoring.answers import score_answers
    from memagent.environments.amemgym.scoring.diagnosis import check_probes, diagnose_all, diagnosis_report, failure_rates
    from memagent.errors import InputError

    items = _items(data, strict)
    probes = read_probes(results, items=items)
    if items is not None:
        check_probes(probes, items)
    found, rates, meta = diagnose_all(probes), None, _facts(items, data, results)
    place = overall or beside(results)
    try:
        if place is not None:
            scores = score_answers(read_answers(place, items=items), items, compat=compat)
            rates = failure_rates(found, scores.by_user("accuracy"))
            meta |= {"way": scores.way, "counts": dict(scores.counts)}
    except InputError as error:
        if overall is not None:
            raise
        print_status(f"no rates: the overall results in the same folder do not fit: {error}")
        meta["rates_left_out"] = str(error)
    _per_user(files, "diagnosis_metrics.json", found)
    _show(diagnosis_report(found, rates, method=method, seed=seed, meta=meta), out, as_json)


@app.command()
def bounds(
    *,
    data: Data,
    utilization: Annotated[
        Path | None, typer.Option(metavar="FILE", help="utilization_results.json (or its folder), or utilization_metrics.json.")
    ] = None,
    results: Annotated[Path | None, typer.Option(metavar="FILE", help="Overall results, for their memory score.")] = None,
    compat: Compat = False,
    strict: Strict = False,
    method: Method = "results",
    seed: Seed = 0,
    files: Files = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Chance, reference policies and the upper bound; memory scores by both published rules.

    Example: memagent amemgym bounds --data data.json --utilization utilization_results.json --json
    """
    from memagent.environments.amemgym.baselines import random_baseline
    from memagent.environments.amemgym.data import write_json
    from memagent.environments.amemgym.official_format import read_answers
    from memagent.environments.amemgym.scoring.answers import score_answers
    from memagent.environments.amemgym.scoring.memory_score import bounds_report
    from memagent.environments.amemgym.scoring.upper_bound import read_upper_bound

    items = _read(data, strict)
    invalid: Counter[str] = Counter()
    upper = None if utilization is None else read_upper_bound(utilization, items, compat=compat, counts=invalid)
    meta = {**_facts(items, data, results or utilization), "upper_bound_counts": dict(invalid)}
    given = {}
    if results is not None:
        scores = score_answers(read_answers(results, items=items), items, compat=compat)
        given[method] = scores.filled(items)
        meta |= {"way": scores.way, "counts": dict(scores.counts)}
    if files is not None:
        write_json({"accuracy": random_baseline(items)}, files / "random_metrics.json")
        if upper is not None:
            write_json({"accuracy": upper}, files / "utilization_metrics.json")
    _show(bounds_report(items, upper=upper, results=given, seed=seed, meta=meta), out, as_json)


def _items(data: Path | None, strict: bool) -> list[UserItem] | None:
    return None if data is None else _read(data, strict)


def _read(data: Path, strict: bool) -> list[UserItem]:
    from memagent.environments.amemgym.data import load_items
    from memagent.environments.amemgym.validate import require_valid

    items = load_items(data)
    if strict:
        require_valid(items, data)
    return items


def _facts(items: list[UserItem] | None, data: Path | None, results: Path | None) -> dict[str, object]:
    """What it takes to compute a report again; breaches of the data are counted and said."""
    from memagent.environments.amemgym.validate import check_items
    from memagent.evaluation.report import file_digest, machine_facts

    facts: dict[str, object] = {**machine_facts(), "results": None if results is None else str(results)}
    if items is None or data is None:
        return facts
    violations = check_items(items)
    if violations:
        print_status(
            f"the data break {len(violations)} rules (memagent amemgym check --data {data}); the first: {violations[0]}"
        )
    return {**facts, "data": str(data), "digest": file_digest(data), "data_users": len(items), "violations": len(violations)}


def _per_user(folder: Path | None, name: str, found: Mapping[str, object]) -> None:
    from memagent.environments.amemgym.data import write_json

    for user, content in found.items() if folder is not None else ():
        write_json(content, Path(folder or ".") / user / name)


def _show(report: Report, out: Path | None, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump_json())
    else:
        print_text(table([("METHOD", "METRIC", "AT", "VALUE", "95 %", "N"), *report.cells()]))
    if out is not None:
        print_status(f"saved {', '.join(map(str, report.save(out)))}")
