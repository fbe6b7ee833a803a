"""`memagent bench calibrate`: how small can an eye read? The packaged OCR, or a model that sees."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from memagent.errors import ConfigError
from memagent.evaluation.report import Report, Row, machine_facts
from memagent_renderers.budget import PictureReader
from memagent_renderers.legibility_curve import PROMISE
from memagent_renderers.unicode_scripts import READ_BY_OCR


def run(
    eye: str = "ocr",
    *,
    engine: str = "embedded",
    words: int = 400,
    seed: int = 0,
    file: Path | None = None,
    keep: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure the curves of `eye` ("ocr" or the name of a model that sees) on pages of an engine.

    `file` gets the curves as JSON; `keep` keeps them for the model, whose pages are laid out by them from then on. Raises
    `ConfigError` for a model that cannot see and for `keep` without a model.
    """
    from memagent.models.vision import save_legibility
    from memagent_renderers.engines import make_engine
    from memagent_renderers.legibility import calibrate
    from memagent_renderers.type_scale import densest_scale

    if keep and eye == "ocr":
        raise ConfigError("the packaged OCR's curves are built in; --keep is for models that see, --file works for both")
    reader, drawer = _eye(eye), make_engine(engine)
    say(f"reading {words} words at each size and weight")
    began = time.perf_counter()
    try:
        legibility = calibrate(reader, engine=drawer, words=words, seed=seed, scripts=READ_BY_OCR if eye == "ocr" else None)
    finally:
        drawer.close()
    if file is not None:
        legibility.save(file)
    kept = save_legibility(eye, legibility) if keep else file
    meta = {
        "eye": legibility.eye,
        "words_at_each_point": words,
        "seed": seed,
        "smallest_legible_px": legibility.smallest(),
        "promise": PROMISE,
        "densest_px": densest_scale(legibility),
        "seconds": round(time.perf_counter() - began, 1),
        "file": str(kept) if kept else None,
        **machine_facts(),
    }
    rows = [
        Row(method=face, metric="words_read", at=size, value=share, n=words)
        for face, points in (("regular", legibility.regular), ("bold", legibility.bold))
        for size, share in points
    ]
    return Report(name="calibrate", rows=rows, meta=meta)


def _eye(name: str) -> PictureReader:
    if name == "ocr":
        from memagent_renderers.ocr.rapidocr import RapidOcrReader

        return RapidOcrReader()
    from memagent.models.registry import load_model
    from memagent.models.vision import VLMReader

    model = load_model(name)
    if not model.reader.sees_images:
        raise ConfigError(f"`{name}` cannot see pictures; --reader is `ocr` or a model that sees")
    return VLMReader(model)
