"""Settings: a flag goes before a `MEMAGENT_*` variable, that before the project's file, the user's file, the default.

The project's file is `memagent.toml` in the working folder, the user's `config.toml` in the home of memagent. Keys of hosted
models come from the environment or from `keys.toml` there (0600); they are never printed.

pydantic-settings was tried: where a value came from, which `config show` prints and errors name, still needs the walk over
the sources that `_layers` is, files named at run time need a class made for each call, and its import takes 0.11 s. It saved
no lines.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from memagent.db.paths import default_folder
from memagent.errors import ConfigError, InputError
from memagent.memory import load_memory
from memagent.memory.arguments import canonical_name
from memagent.models.wire.endpoint import Endpoint
from memagent_renderers.budget import Budget
from memagent_renderers.files import write_atomic

PROJECT_FILE = "memagent.toml"
_NUMBER = re.compile(r"-?[0-9]+")
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Settings(BaseModel):
    """Every setting with its value; `origin` says where each came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "embedded"
    base_url: str | None = None
    """Address of the server of `openai:`, `ollama:`, `lmstudio:` and `vllm:` models; None: their variable, or the usual one."""
    timeout: float | None = None
    """Seconds that a call of such a model may take; None: 300."""
    memory: str = "rag"
    budget: int | None = None
    """Tokens of a recalled view; None: the default of the memory and the model."""
    user: str = "default"
    store: Path | None = None
    """Folder of the store; None: the home of memagent."""
    embedder: str | None = None
    """None: the store's own, else the best installed."""
    system: str | None = None
    """Instructions to the model; None: those that memagent brings."""
    memory_model: str | None = None
    """Model that writes notes in a chat: a name, or "same" for the one that answers; None: written without a model."""
    origin: dict[str, str] = {}

    @field_validator("user")
    @classmethod
    def _spelt(cls, value: str) -> str:
        return canonical_name(value)

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            Endpoint(value)
        return value

    @field_validator("timeout")
    @classmethod
    def _seconds(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value < float("inf"):
            raise ValueError("a timeout is a number of seconds above 0")
        return value

    @field_validator("store")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(os.path.expanduser(value))  # which leaves a `~` of nobody


NAMES = tuple(name for name in Settings.model_fields if name != "origin")


def user_file() -> Path:
    return default_folder() / "config.toml"


def load_settings(flags: Mapping[str, object], *, file: Path | None = None) -> Settings:
    """The settings in force. `file` stands in for the project's file. Raises `ConfigError` naming what is wrong."""
    project = Path(PROJECT_FILE) if file is None else file
    if file is not None and not file.exists():
        raise ConfigError(f"there is no settings file {file}")
    values: dict[str, object] = {}
    origin = dict.fromkeys(NAMES, "default")
    for source, layer in _layers(flags, project):
        if source == PROJECT_FILE and file is None:  # whoever wrote this folder is not to be sent what the user says
            layer.pop("base_url", None)
        values |= layer
        origin |= dict.fromkeys(layer, source)
    try:
        return Settings.model_validate({**values, "origin": origin})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise ConfigError(f"setting {name!r} from {origin.get(name)}: {first['msg']}, not {values.get(name)!r}") from None


def _layers(flags: Mapping[str, object], project: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Sources with the settings they name, the one that goes before all others last."""
    yield str(user_file()), read_file(user_file())
    yield str(project), read_file(project)
    for name in NAMES:
        variable = f"MEMAGENT_{name.upper()}"
        if os.environ.get(variable):
            yield variable, {name: os.environ[variable]}
    yield "flag", {name: value for name, value in flags.items() if value is not None}


def read_file(path: Path) -> dict[str, object]:
    """Settings of a TOML file, none when it does not exist. Raises `ConfigError` for a key that is no setting."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    for name in found:
        check_name(name, str(path))
    return found


def check_name(name: str, where: str) -> None:
    """Raise `ConfigError` unless `name` is a setting."""
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{where}: there is no setting {name!r}.{hint} Known: {', '.join(NAMES)}")


def set_value(name: str, value: str) -> None:
    """Write a setting to the user's file, after checking it. Raises `ConfigError`, `BudgetError` or `UnknownName`."""
    check_name(name, "config set")
    if name == "memory":
        load_memory(value)
    found = read_file(user_file()) | {name: _parsed(name, value)}
    try:
        Settings.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"setting {name!r}: {error.errors(include_url=False)[0]['msg']}, not {value!r}") from None
    if name == "budget":
        Budget(int(value))
    _write(user_file(), found)


def _parsed(name: str, value: str) -> str | int | float:
    """A value as it stands in the file; what is no number where one belongs is left for the check to name."""
    if name == "budget" and _NUMBER.fullmatch(value):
        return int(value)
    if name == "timeout":
        with suppress(ValueError):
            return float(value)
    return value


def unset(name: str) -> bool:
    """Take a setting out of the user's file. False when it was not there."""
    check_name(name, "config unset")
    found = read_file(user_file())
    if name not in found:
        return False
    _write(user_file(), {key: value for key, value in found.items() if key != name})
    return True


# -- keys -------------------------------------------------------------------------------------------------------------


def _keys_file() -> Path:
    return default_folder() / "keys.toml"


def _keys() -> dict[str, str]:
    """The keys that are kept. Raises `ConfigError` for a file that others can read, or that is no TOML."""
    file = _keys_file()
    try:
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise ConfigError(f"others than you can read {file}; close it with: chmod 600 {file}")
        found = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):  # the cause would quote a key
        raise ConfigError(f'cannot read {file}; it holds lines of the form PROVIDER = "KEY"') from None
    return {name: key for name, key in found.items() if isinstance(key, str)}


def key_for(provider: str) -> str | None:
    """The key of a provider: from `<PROVIDER>_API_KEY`, else from the file of keys; None when there is none."""
    return os.environ.get(_variable(provider)) or _keys().get(provider)


def key_origin(provider: str) -> str | None:
    """Where the key of a provider comes from: a variable's name, or "file"; None when there is none."""
    if os.environ.get(_variable(provider)):
        return _variable(provider)
    return "file" if provider in _keys() else None


def _variable(provider: str) -> str:
    return f"{provider.upper().replace('-', '_')}_API_KEY"


def save_key(provider: str, key: str) -> None:
    """Keep a key in the file of keys (0600). Raises `InputError` for a provider that no model could name."""
    if not _PROVIDER.fullmatch(provider):
        raise InputError(f"a provider is what stands before the colon of a model's name, such as openai, not {provider!r}")
    _write(_keys_file(), _keys() | {provider: key})


def remove_key(provider: str) -> bool:
    """Forget a key. False when there was none."""
    keys = _keys()
    if keys.pop(provider, None) is None:
        return False
    _write(_keys_file(), keys)
    return True


def key_names() -> list[str]:
    """Providers of which a key is kept."""
    return sorted(_keys())


def _write(path: Path, values: Mapping[str, object]) -> None:
    """Put TOML into a file of mode 0600, whole or not at all."""
    body = "".join(f"{_toml(name)} = {_toml(value)}\n" for name, value in values.items() if value is not None)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, body)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; MEMAGENT_HOME names another folder") from error


def _toml(value: object) -> str:
    """A string, number or truth value as TOML, whose basic strings are JSON's but for the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
