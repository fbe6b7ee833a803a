"""`memagent render`: a Markdown file as the picture that a model would see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import Json, emit, note

if TYPE_CHECKING:
    from renderers.reader import Picture

_ENGINES = {"chromium": "browser"}
"""Names by which engines are asked for here, where they differ."""


def command(
    file: Annotated[Path, typer.Argument(help="Markdown file.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.png", help="Picture to write.")],
    budget: Annotated[int, typer.Option(metavar="N", help="Visual tokens that the picture may cost.")] = 256,
    engine: Annotated[str, typer.Option(help="embedded, chromium, or fake.")] = "embedded",
    as_json: Json = False,
) -> None:
    """Lay a Markdown file out for a budget of visual tokens and draw it.

    Example: memagent render page.md -o page.png --budget 256
    """
    from renderers.engines import make_engine
    from renderers.fonts import fallback
    from renderers.picture import render
    from renderers.reader import Budget

    limit, text = Budget(budget), _read(file)
    drawer = make_engine(_ENGINES.get(engine, engine))
    try:
        picture = render(text, limit, engine=drawer)
    finally:
        close = getattr(drawer, "close", None)
        if close is not None:
            close()
    _write(output, picture)
    if picture.dropped:
        note(f"{picture.dropped} blocks did not fit; a larger --budget shows more")
    if picture.missing:
        note(f"no font here draws {' '.join(picture.missing[:20])}")
        if advice := fallback.advice(picture.missing):
            note(advice)
    _report(output, budget, engine, picture, as_json)


def _report(output: Path, budget: int, engine: str, picture: Picture, as_json: bool) -> None:
    data = {
        "file": str(output),
        "engine": engine,
        "width": picture.width,
        "height": picture.height,
        "tokens": picture.tokens,
        "budget": budget,
        "dropped": picture.dropped,
        "missing": list(picture.missing),
    }
    size = f"{picture.width} x {picture.height} px"
    text = f"{output}: {size}, {picture.tokens} of {budget} tokens, {picture.dropped} dropped"
    emit(data, text, as_json)


def _read(file: Path) -> str:
    from memagent.errors import InputError

    try:
        return file.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 at byte {error.start}; save it as UTF-8 first") from None


def _write(output: Path, picture: Picture) -> None:
    from memagent.errors import InputError

    try:
        output.write_bytes(picture.png)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}") from error
