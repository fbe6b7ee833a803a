"""`memagent bench`: measurements as a table, as JSON, and as files with a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli import amemgym_run, long_qa
from memagent.cli.common import Json, Ray, names, numbers, print_json, print_status, print_text, run_progress, table

if TYPE_CHECKING:
    from memagent.evaluation.report import Report

app = typer.Typer(no_args_is_help=True, help="Measure, with tables, JSON and plots.")

Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Also save JSON, Markdown and a plot here.")]


@app.command()
def recall(
    data: Annotated[Path, typer.Option(help="A LoCoMo or BEAM file.")],
    *,
    embedder: Annotated[str, typer.Option(help="minilm, hash, st:MODEL or auto.")] = "auto",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Evidence recall on dialogues: dense, lexical and the fusion that ships.

    Example: memagent bench recall --data locomo.json --json
    """
    from memagent.evaluation.recall import run

    _show(run(data, embedder=embedder, progress=run_progress()), out, as_json)


@app.command()
def chat(
    data: Annotated[Path, typer.Option(help="A talk (JSON: said, asked, unknown, empty), or a folder of talks.")],
    *,
    methods: Annotated[str, typer.Option(help="Kinds of memory, with commas.")] = "rag,notes,memocr",
    model: Annotated[str, typer.Option("--model", "-m", help="The model that answers.")] = "embedded",
    embedder: Annotated[str, typer.Option(help="minilm, hash, st:MODEL, auto; none: search by words only.")] = "auto",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Whether a chat answers from what it was told, and makes nothing up.

    Example: memagent bench chat --data talks --methods rag,notes
    """
    from memagent.evaluation.chat import run

    embedding = None if embedder == "none" else embedder
    _show(run(data, methods=names(methods), model=model, embedder=embedding, progress=run_progress()), out, as_json)


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

    given = numbers(sizes, "--sizes", "10000,100000")
    _show(run(sizes=given, turns=turns, embedder=resolve_embedder(embedder or "auto"), progress=run_progress()), out, as_json)


@app.command("visual-memory")
def visual_memory(
    data: Annotated[Path, typer.Option(help="Questions: HotpotQA, LoCoMo, ...")],
    *,
    methods: Annotated[str | None, typer.Option(help="With commas; default: all but raw and the MemAgent texts.")] = None,
    budgets: Annotated[str, typer.Option(help="Tokens of the views, with commas.")] = "16,64,256",
    context_tokens: Annotated[int, typer.Option(help="Text tokens to which each context is padded.")] = 10_000,
    reader: Annotated[str, typer.Option(help="Who reads pictures: ocr or simulated.")] = "ocr",
    compare_ocr: Annotated[
        int, typer.Option(metavar="N", help="With --reader simulated: pictures that OCR reads too, to compare.")
    ] = 0,
    embedder: Annotated[str, typer.Option(help="minilm, hash, st:MODEL, auto; none: search by words only.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="First questions of the file; default: all.")] = None,
    seeds: Annotated[int, typer.Option(help="Paddings of each question.")] = 1,
    concurrency: Annotated[int, typer.Option(metavar="N", help="Contexts at once.")] = 4,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Save here, and go on where a run stopped.")] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """What a memory still shows within few tokens: laid out, shrunk, and as text.

    Example: memagent bench visual-memory --data hotpotqa.jsonl --budgets 16,64 --out report
    """
    from memagent.environments.long_qa.visual_memory import METHODS, run, settings

    chosen = settings(
        methods=names(methods) if methods else METHODS,
        budgets=numbers(budgets, "--budgets", "16,64,256"),
        context_tokens=context_tokens,
        reader=reader,
        embedder=None if embedder == "none" else embedder,
        limit=limit,
        seeds=seeds,
        concurrency=concurrency,
    )
    ask = None
    if ray is not None:
        from memagent.environments.long_qa.ray_run import by_ray

        ask = by_ray(ray, chosen)
    _show(run(data, chosen, out=out, compare_ocr=compare_ocr, ask=ask, progress=run_progress()), out, as_json)


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
    reader: Annotated[str, typer.Option(help="ocr, or a model that sees, such as hf:MODEL.")] = "ocr",
    engine: Annotated[str, typer.Option(help="embedded or browser.")] = "embedded",
    words: Annotated[int, typer.Option(metavar="N", help="Words read at each size and weight.")] = 400,
    seed: int = 0,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the curves here, as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Lay pages out for this model by these curves from now on.")] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """How small a reader can read: the curves by which layout sets its type.

    Example: memagent bench calibrate --reader hf:Qwen/Qwen2.5-VL-3B-Instruct --keep
    """
    from memagent.evaluation.calibrate import run

    _show(run(reader, engine=engine, words=words, seed=seed, file=file, keep=keep, say=print_status), out, as_json)


app.command("amemgym")(amemgym_run.command)


def _show(report: Report, out: Path | None, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump_json())
    else:
        print_text(table([("METHOD", "METRIC", "AT", "VALUE", "95 %", "N"), *report.cells()]))
    if out is not None:
        print_status(f"saved {', '.join(map(str, report.save(out)))}")
