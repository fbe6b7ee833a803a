"""`memagent bench`: measurements as a table, as JSON, and as files with a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli import long_qa
from memagent.cli.common import Json, print_status, progress, table

if TYPE_CHECKING:
    from memagent.evaluation.report import Report, Row

app = typer.Typer(no_args_is_help=True, help="Measure, with tables, JSON and plots.")

Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Also save JSON, Markdown and a plot here.")]


@app.command()
def recall(
    data: Annotated[Path, typer.Option(help="A LoCoMo file.")],
    *,
    embedder: Annotated[str, typer.Option(help="minilm, hash, st:MODEL or auto.")] = "auto",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Evidence recall on dialogues: dense, lexical and the fusion that ships.

    Example: memagent bench recall --data locomo.json --json
    """
    from memagent.evaluation.recall import run

    _show(run(data, embedder=embedder, say=print_status), out, as_json)


@app.command()
def store(
    *,
    sizes: Annotated[str, typer.Option(help="Numbers of items, with commas.")] = "10000,100000",
    turns: Annotated[int, typer.Option(help="Times to write and recall in turn.")] = 300,
    embedder: Annotated[str | None, typer.Option(help="Of the import share; default: the best installed.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """How long a chat waits for its memory: writing, recalling, opening, importing.

    Example: memagent bench store --sizes 10000 --json
    """
    from memagent.evaluation.store import run
    from memagent.retrieval.embedders.registry import resolve_embedder

    numbers = _numbers(sizes, "--sizes", "10000,100000")
    _show(run(sizes=numbers, turns=turns, embedder=resolve_embedder(embedder or "auto"), say=print_status), out, as_json)


@app.command("visual-memory")
def visual_memory(
    data: Annotated[Path, typer.Option(help="A HotpotQA or LoCoMo file.")],
    *,
    budgets: Annotated[str, typer.Option(help="Tokens of the views, with commas.")] = "16,64,256",
    context_tokens: Annotated[int, typer.Option(help="Text tokens to which each context is padded.")] = 10_000,
    drafter: Annotated[str, typer.Option(help="ranked (plain hybrid ranking) or salience.")] = "ranked",
    eye: Annotated[str, typer.Option(help="Who reads pictures: ocr or calibrated.")] = "ocr",
    limit: Annotated[int | None, typer.Option(help="First questions of the file; default: all.")] = None,
    seeds: Annotated[int, typer.Option(help="Paddings of each question.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Save here, and go on where a run stopped.")] = None,
    as_json: Json = False,
) -> None:
    """What a memory still shows within few tokens: laid out, shrunk, and as text.

    Example: memagent bench visual-memory --data hotpotqa.jsonl --budgets 16,64 --out report
    """
    from memagent.evaluation.visual_memory import Settings, run

    settings = Settings(
        budgets=tuple(_numbers(budgets, "--budgets", "16,64,256")),
        context_tokens=context_tokens,
        drafter=drafter,
        eye=eye,
        limit=limit,
        seeds=seeds,
    )
    _show(run(data, settings, out=out, say=print_status), out, as_json)


app.command("long-qa")(long_qa.command)


@app.command()
def render(
    *,
    budget: Annotated[int, typer.Option(metavar="N", help="Visual tokens of each picture.")] = 256,
    batch: Annotated[int, typer.Option(metavar="N", help="Documents of a batch.")] = 256,
    rounds: Annotated[int, typer.Option(metavar="N", help="Times that each arm is measured.")] = 5,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Pictures a second: both engines, a batch, the cache, and the published way to draw.

    Example: memagent bench render --json
    """
    from memagent.evaluation.render import run

    _show(run(budget=budget, batch=batch, rounds=rounds, say=print_status), out, as_json)


@app.command()
def calibrate(
    *,
    eye: Annotated[str, typer.Option(help="ocr, or a model that sees, such as hf:MODEL.")] = "ocr",
    engine: Annotated[str, typer.Option(help="embedded or browser.")] = "embedded",
    words: Annotated[int, typer.Option(metavar="N", help="Words read at each size and weight.")] = 400,
    seed: int = 0,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the curves here, as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Lay pages out for this model by these curves from now on.")] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """How small an eye can read: the curves by which layout sets its type.

    Example: memagent bench calibrate --eye hf:Qwen/Qwen2.5-VL-3B-Instruct --keep
    """
    from memagent.evaluation.calibrate import run

    _show(run(eye, engine=engine, words=words, seed=seed, file=file, keep=keep, say=print_status), out, as_json)


@app.command()
def amemgym(
    *,
    users: Annotated[
        int | None, typer.Option(metavar="N", help="Procedural users, by default 20; with --data, the first of the file.")
    ] = None,
    preset: Annotated[str, typer.Option(help="v1.base or v1.extra.")] = "v1.base",
    budget: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Tokens of a view; give it again for more. Offline: 1024, 256, 64.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="With commas; default: all but keyword.")] = None,
    seed: Annotated[int, typer.Option(help="Of users, talk, eye and intervals.")] = 42,
    embedder: Annotated[str, typer.Option(help="minilm, hash, st:MODEL, auto; none: search by words only.")] = "auto",
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes of --offline; default: one a core.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Without any model: a probe reads the views.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="The assistants' model.")] = None,
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
    as_json: Json = False,
) -> None:
    """Kinds of memory on users whose lives change: what reaches the reader, and where it was lost.

    With --model the answers of a model are scored, with --offline what a probe finds in the views.

    Example: memagent bench amemgym --users 5 --offline --budget 1024 --budget 256

    Example: memagent bench amemgym --model openai:gpt-4.1-mini --users 2 --out run --dry-run
    """
    from memagent.environments.amemgym.offline_run import BUDGETS, METHODS, Settings, means, remarks, run
    from memagent.errors import InputError

    if offline == (model is not None):
        raise InputError("say who answers: --model NAME, or --offline for the probe that needs no model; one of the two")
    if model is not None:
        from memagent.cli.amemgym_run import ModelFlags, run_with_model

        choice = ModelFlags(
            model=model,
            user_model=user_model,
            users=users,
            preset=preset,
            budgets=budget or [],
            methods=methods,
            seed=seed,
            embedder=embedder,
            data=data,
            off_policy=off_policy,
            upper_bound=upper_bound,
            concurrency=concurrency,
        )
        report = run_with_model(choice, out=out, dry=dry_run, prices=(price_in, price_out))
        _show(report if as_json else report.model_copy(update={"rows": _means(report)}), None, as_json)
        return
    only_with_model = {"--data": data, "--off-policy": off_policy, "--user-model": user_model, "--dry-run": dry_run or None}
    if given := [flag for flag, value in only_with_model.items() if value is not None]:
        raise InputError(f"{given[0]} is for a run with a model; name one with --model")
    settings = Settings(
        users=users or 20,
        preset=preset,
        budgets=tuple(budget or BUDGETS),
        seed=seed,
        methods=tuple(methods.split(",")) if methods else METHODS,
        embedder=embedder,
        workers=workers,
    )
    reports = run(settings, out=out, say=print_status, track=progress)
    for report in reports:
        if as_json:
            typer.echo(report.model_dump_json())
        else:
            typer.echo(f"Within {report.meta['budget']} tokens: means over periods and, in brackets, 95 % over users")
            typer.echo(table(means(report)))
            typer.echo(f"{report.meta['memocr']['text']}\n" if report.meta["memocr"] else "")
        if out is not None:
            folder = out / f"budget_{report.meta['budget']}"
            print_status(f"saved {', '.join(map(str, report.save(folder)))}")
    if not as_json:
        typer.echo("\n".join(remarks(reports[0])))


def _means(report: Report) -> list[Row]:
    """The rows that a terminal has room for."""
    return [row for row in report.rows if row.at in (None, "mean") and not row.metric.endswith("_user_period")]


def _numbers(text: str, flag: str, example: str) -> list[int]:
    from memagent.errors import InputError

    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"{flag} takes numbers with commas, such as {example}, not {text!r}") from None


def _show(report: Report, out: Path | None, as_json: bool) -> None:
    if as_json:
        typer.echo(report.model_dump_json())
    else:
        typer.echo(table([("METHOD", "METRIC", "AT", "VALUE", "95 %", "N"), *report.cells()]))
    if out is not None:
        print_status(f"saved {', '.join(map(str, report.save(out)))}")
