"""`memagent bench long-qa`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from memagent.cli.common import (
    Json,
    Ray,
    model_loader,
    names,
    numbers,
    open_model,
    print_json,
    print_status,
    print_text,
    run_progress,
    table,
)
from memagent.cli.common import settings as the_settings


def command(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Questions: HotpotQA, 2Wiki, MuSiQue, NQ, TriviaQA, ...")],
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Answers the questions.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Without any model: is the answer shown?")] = False,
    methods: Annotated[
        str | None,
        typer.Option(
            help="With commas: kinds of memory, uniform, shrink, text_cut, text_fair, memagent, memagent-fair, raw. "
            "Default: memocr, rag, notes, long_context, uniform, memagent, memagent-fair, raw."
        ),
    ] = None,
    budgets: Annotated[str, typer.Option(help="Tokens of the views, with commas.")] = "1024,256,64,16",
    lengths: Annotated[str, typer.Option(help="Tokens of the contexts, with commas.")] = "10K,30K,100K",
    documents: Annotated[
        bool, typer.Option("--documents", help="Contexts of 50, 200, 800 documents, as the paper counts 10K, 30K, 100K.")
    ] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", help="First questions of the file; default: all.")] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Paddings of each question.")] = 1,
    drafter: Annotated[
        str | None, typer.Option(help="Who drafts memories: salience (no model) or model. Small models: salience.")
    ] = None,
    chunk_tokens: Annotated[int, typer.Option(metavar="N", help="Of the text that a drafter reads at once.")] = 5000,
    reader: Annotated[str, typer.Option(help="Reads pictures for models that see none: ocr or simulated.")] = "ocr",
    embedder: Annotated[str, typer.Option(help="minilm, hash, st:MODEL, auto; none: rank by words only.")] = "auto",
    window: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens that raw may read at once; default: the model's.")
    ] = None,
    answer_tokens: Annotated[int | None, typer.Option(metavar="N", help="Most tokens of an answer.")] = None,
    pool: Annotated[Path | None, typer.Option(metavar="FILE", help="More documents to pad contexts with.")] = None,
    concurrency: Annotated[int, typer.Option(metavar="N", help="Model calls at once.")] = 4,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Save here, and go on where a run stopped.")] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Questions about long contexts: kinds of memory by budget and length, with MemOCR's published table beside.

    With --model a model answers, with --offline it only counts whether the answer stands in what was read.

    Example: memagent bench long-qa hotpotqa.jsonl --offline --lengths 10K --budgets 64,16 --out run
    """
    from memagent.environments.long_qa.report import run
    from memagent.environments.long_qa.settings import METHODS, LongQaSettings
    from memagent.errors import InputError

    if offline == (model is not None):
        raise InputError("say who answers: --model NAME, or --offline for no model at all; one of the two")
    settings = LongQaSettings(
        methods=names(methods) if methods else METHODS,
        budgets=numbers(budgets, "--budgets", "64,16"),
        lengths=names(lengths),
        by_documents=documents,
        drafter=drafter,
        chunk_tokens=chunk_tokens,
        reader=reader,
        embedder=embedder,
        seeds=seeds,
        limit=limit,
        window=window,
        answer_tokens=answer_tokens,
        concurrency=concurrency,
    )
    ask = None
    if ray is not None:
        from memagent.environments.long_qa.ray_run import by_ray

        ask = by_ray(ray, settings, load_model=model_loader(model, the_settings()) if model else None)
    if out is None:
        print_status("without --out nothing is kept: a run that stops begins anew")
    with open_model(model) if model else nullcontext() as voice:
        report = run(data, settings, model=voice, pool=pool, out=out, ask=ask, progress=run_progress())
    if as_json:
        print_json(report.model_dump_json())
    else:
        for title, rows in report.tables():
            print_text(f"{title}\n{table(rows)}\n")
        print_text("\n".join(report.remarks()))
    if out is not None:
        print_status(f"saved {', '.join(map(str, report.save(out)))}")
