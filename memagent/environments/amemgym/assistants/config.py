"""Agent configurations as the released evaluator reads them: which assistant, with which model and which window.

A key that the file holds stays in memory: `public` is what may be written.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from memagent.environments.amemgym.assistants.evolution import EvolutionSettings
from memagent.environments.amemgym.assistants.windowed import Schedule
from memagent.environments.amemgym.data import wrong_places
from memagent.errors import ConfigError
from memagent.models.base import ChatModel, Reply, Request

AgentType = Literal["native", "awi", "awi-hack", "awi-evolve", "rag", "awe", "rag-evolve", "mem0-evolution"]
_Positive = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ModelSection(_Section):
    """`llm_config`: the model and how it is asked."""

    llm_model: str
    base_url: str | None = Field(default=None, repr=False)
    """None: OPENAI_BASE_URL."""
    api_key: SecretStr | None = None
    """None: OPENAI_API_KEY."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: _Positive = 8192
    """Of an answer."""
    source: str | None = None
    extra_params: dict[str, Any] | None = Field(default=None, repr=False)
    max_history_msgs: _Positive | None = None
    """Most messages of a native assistant's history; not official, found in published runs."""
    max_history_tokens: _Positive | None = None
    """Most tokens of a native assistant's history; ours."""


class WindowSection(_Section):
    """`agent_config`: the window and what is looked up. The published (freq, ns, topk)."""

    update_bsz: _Positive = 2
    local_length: Annotated[int, Field(ge=0)] = 4
    top_k: _Positive = 30
    enable_llm_mem_policy: bool | None = None
    """For `rag`: whether a model writes, which makes it `awe`."""


class AgentConfig(_Section):
    """An agent configuration."""

    type: AgentType
    name: Annotated[str, Field(min_length=1, pattern=r"^[^/\\\x00]*$")]
    """Names the method in reports and the folder of its results."""
    llm_config: ModelSection
    agent_config: WindowSection = WindowSection()
    memory_config: dict[str, Any] | None = Field(default=None, repr=False)
    """Of the memory library there; the embedder is the store's here."""
    evolution_config: EvolutionSettings | None = None

    @property
    def schedule(self) -> Schedule:
        own = self.agent_config
        return Schedule(own.update_bsz, own.local_length, own.top_k)

    def public(self) -> dict[str, Any]:
        """What may be written: without the key, the address's user and query, and free parts, which may hold keys too."""
        whole = self.model_dump(mode="json", exclude={"memory_config": True, "llm_config": {"api_key", "extra_params"}})
        if self.llm_config.base_url is not None:
            parts = urlsplit(self.llm_config.base_url)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
            port = f":{parts.port}" if parts.port else ""
            whole["llm_config"]["base_url"] = f"{parts.scheme}://{host}{port}{parts.path}"
        return whole

    def load_model(self) -> ChatModel:
        """The model that the configuration names, at an OpenAI-compatible server. Raises what `load_model` raises."""
        from memagent.models.registry import load_model

        own = self.llm_config
        if own.extra_params:
            raise ConfigError(f"{self.name}: `extra_params` of `llm_config` cannot be passed on; take them out")
        key = None if own.api_key is None else own.api_key.get_secret_value()
        return load_model(f"openai:{own.llm_model}", base_url=own.base_url, api_key=key)

    def configured(self, model: ChatModel) -> ChatModel:
        """A model asked with the temperature and the most tokens of this configuration."""
        return ConfiguredModel(model, temperature=self.llm_config.temperature, most=self.llm_config.max_tokens)


class ConfiguredModel(ChatModel):
    """A model that is always asked with one temperature and for no more than `most` tokens. It does not own the one inside."""

    def __init__(self, model: ChatModel, *, temperature: float, most: int) -> None:
        self.name, self.reader, self.small = model.name, model.reader, model.small
        self._model, self._temperature, self._tokens = model, temperature, most

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        most = min(request.max_tokens, self._tokens)
        return self._model._stream(replace(request, temperature=self._temperature, max_tokens=most))


def load_agent_config(path: str | Path) -> AgentConfig:
    """The configuration of a file. Raises `ConfigError` naming the file and the place, never a value."""
    file = Path(path)
    try:
        return AgentConfig.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise ConfigError(f"{file} is no agent configuration: {wrong_places(error)}") from None
