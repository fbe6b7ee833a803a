"""`memagent bench amemgym`: loads the models, shows how far it is, and says how to go on after a stop."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import (
    Json,
    Ray,
    open_model,
    print_json,
    print_status,
    print_text,
    progress,
    table,
    terminated_as_interrupted,
)

if TYPE_CHECKING:
    from memagent.environments.amemgym.run import AmemgymSettings
    from memagent.evaluation.report import Report


def command(
    *,
    users: Annotated[
        int | None, typer.Option(metavar="N", help="Procedural users, by default 20; with --data, the first of the file.")
    ] = None,
    preset: Annotated[str, typer.Option(help="v1.base or v1.extra.")] = "v1.base",
    budget: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Tokens of a view; give it again for more. Offline: 1024, 256, 64.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="With commas; default: all but keyword.")] = None,
    seed: Annotated[int, typer.Option(help="Of users, talk, simulated OCR and intervals.")] = 42,
    embedder: Annotated[str, typer.Option(help="minilm, hash, st:MODEL, auto; none: search by words only.")] = "auto",
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes of --offline; default: one a core.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Without any model: rules read the views.")] = False,
    compare_ocr: Annotated[
        int, typer.Option(metavar="N", help="Have real OCR read N of the pictures of --offline too, after the reports.")
    ] = 0,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Replies and answers.")] = None,
    user_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Plays the user. Default: neutral questions without a model.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="An official data.json, for a run with a model.")] = None,
    off_policy: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Replay conversations: <user>/interactions/period_PP.json.")
    ] = None,
    upper_bound: Annotated[bool, typer.Option(help="Also ask for the upper bound, on which memory scores rest.")] = True,
    concurrency: Annotated[int, typer.Option(metavar="N", help="Model calls at once.")] = 8,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print calls, tokens and cost beforehand; call nothing.")] = False,
    price_in: Annotated[float | None, typer.Option(metavar="X", help="Of a million tokens read, for --dry-run.")] = None,
    price_out: Annotated[float | None, typer.Option(metavar="X", help="Of a million tokens written.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also save reports and conversations here; a run with a model goes on.")
    ] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Kinds of memory on users whose lives change: what reaches the reader, and where it was lost.

    With --model the answers of a model are scored, with --offline what rules find in the views.

    Example: memagent bench amemgym --users 5 --offline --budget 1024 --budget 256

    Example: memagent bench amemgym --model openai:gpt-4.1-mini --users 2 --out run --dry-run
    """
    from memagent.environments.amemgym import run as bench
    from memagent.environments.amemgym.report import means, remarks
    from memagent.errors import InputError

    if offline == (model is not None):
        raise InputError("say who answers: --model NAME, or --offline for rules that need no model; one of the two")
    if dry_run and offline:
        raise InputError("--dry-run is for a run with a model; name one with --model")
    if (price_in is None) != (price_out is None):
        raise InputError("give both prices of a million tokens: --price-in and --price-out")
    if ray is not None and not offline:
        raise InputError("--ray is for --offline; a run with a model waits for its server: give that --concurrency N")
    settings = bench.AmemgymSettings(
        model=model,
        user_model=user_model,
        methods=tuple(methods.split(",")) if methods else (),
        budgets=tuple(budget or ()),
        data=data,
        limit=users,
        preset=preset,
        seed=seed,
        embedder=embedder,
        off_policy=off_policy,
        upper_bound=upper_bound,
        concurrency=concurrency,
        workers=workers,
        compare_ocr=compare_ocr,
    )
    if dry_run:
        prices = None if price_in is None or price_out is None else (price_in, price_out)
        reports = [bench.dry_run(settings, prices=prices)]
    else:
        with terminated_as_interrupted():
            reports = _run(settings, out, ray)
    for report in reports:
        if as_json:
            print_json(report.model_dump_json())
        elif offline:
            print_text(f"Within {report.meta['budget']} tokens: means over periods and, in brackets, 95 % over users")
            print_text(table(means(report)))
            print_text(f"{report.meta['memocr']['text']}\n" if report.meta["memocr"] else "")
        else:
            rows = [row for row in report.rows if row.at in (None, "mean") and not row.metric.endswith("_user_period")]
            shown = report.model_copy(update={"rows": rows})
            print_text(table([("METHOD", "METRIC", "AT", "VALUE", "95 %", "N"), *shown.cells()]))
    if offline and not as_json:
        print_text("\n".join(remarks(reports[0])))


def _run(settings: AmemgymSettings, out: Path | None, ray: str | None) -> list[Report]:
    from memagent.environments.amemgym.run import run
    from memagent.evaluation.runner import Progress

    shown = Progress(print_status, progress)
    if settings.model is None:
        reports = run(settings, out=out, ray=ray, progress=shown)
    else:
        if out is None:
            print_status("without --out nothing is kept: a run that stops begins anew, and pays anew")
        with ExitStack() as models:
            model = models.enter_context(open_model(settings.model))
            same = settings.user_model == settings.model
            user = model if same else models.enter_context(open_model(settings.user_model))
            try:
                reports = run(settings, model=model, user=user, out=out, progress=shown)
            except BaseException:
                if out is not None:
                    print_status(f"stopped; the same command goes on in {out} and pays no reply twice")
                raise
        for method, failed in reports[0].meta["failures"].items():
            if failed["count"]:
                print_status(f"{method}: {failed['count']} calls failed, the first: {failed['first'][0]}")
    if out is not None:
        print_status(f"saved {out}")
    return reports
