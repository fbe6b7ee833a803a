"""Settings: a flag goes before a `MEMAGENT_*` variable, that before the project's file, the user's file, the default.

The project's file is `memagent.toml` in the working folder, the user's `config.toml` in the home of memagent. Keys of hosted
models come from the environment or from `keys.toml` there (0600); they are never printed.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from memagent.errors import ConfigError
from memagent.store.store import default_folder

PROJECT_FILE = "memagent.toml"


class Settings(BaseModel):
    """Every setting with its value; `origin` says where each came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "embedded"
    memory: str = "rag"
    budget: int | None = None
    """Tokens of a recalled view; None: the default of the memory and the model."""
    user: str = "default"
    store: Path | None = None
    """Folder of the store; None: the home of memagent."""
    embedder: str | None = None
    """None: the store's own, else the best installed."""
    system: str | None = None
    origin: dict[str, str] = {}


NAMES = tuple(name for name in Settings.model_fields if name != "origin")


def user_file() -> Path:
    """The user's file of settings."""
    return default_folder() / "config.toml"


def load_settings(flags: Mapping[str, object], *, file: Path | None = None) -> Settings:
    """The settings in force. `file` stands in for the project's file. Raises `ConfigError` naming what is wrong."""
    project = Path(PROJECT_FILE) if file is None else file
    if file is not None and not file.exists():
        raise ConfigError(f"there is no settings file {file}")
    values: dict[str, object] = {}
    origin = dict.fromkeys(NAMES, "default")
    layers: list[tuple[str, Mapping[str, object]]] = [
        (str(user_file()), read_file(user_file())),
        (str(project), read_file(project)),
        *((f"MEMAGENT_{name.upper()}", {name: os.environ[f"MEMAGENT_{name.upper()}"]}) for name in NAMES
          if os.environ.get(f"MEMAGENT_{name.upper()}")),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ]  # fmt: skip
    for source, layer in layers:
        for name, value in layer.items():
            values[name], origin[name] = value, source
    try:
        return Settings.model_validate({**values, "origin": origin})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise ConfigError(
            f"setting {name!r} from {origin.get(name)}: {error.errors()[0]['msg']}, not {values.get(name)!r}"
        ) from None


def read_file(path: Path) -> dict[str, object]:
    """Settings of a TOML file, none when it does not exist. Raises `ConfigError` for a key that is no setting."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
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
    """Write a setting to the user's file, after checking it."""
    check_name(name, "config set")
    found = read_file(user_file()) | {name: int(value) if name == "budget" and value.isdigit() else value}
    load_settings(found)
    _write(user_file(), found)


def _keys_file() -> Path:
    return default_folder() / "keys.toml"


def _keys() -> dict[str, str]:
    try:
        return {name: str(key) for name, key in tomllib.loads(_keys_file().read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"cannot read {_keys_file()}: {error}") from error


def key_for(provider: str) -> str | None:
    """The key of a provider: from `<PROVIDER>_API_KEY`, else from the file of keys; None when there is none."""
    return os.environ.get(f"{provider.upper()}_API_KEY") or _keys().get(provider)


def save_key(provider: str, key: str) -> None:
    """Keep a key in the file of keys (0600)."""
    _write(_keys_file(), _keys() | {provider: key})


def remove_key(provider: str) -> bool:
    """Forget a key. False when there was none."""
    keys = _keys()
    found = keys.pop(provider, None) is not None
    _write(_keys_file(), keys)
    return found


def key_names() -> list[str]:
    """Providers of which a key is kept."""
    return sorted(_keys())


def _write(path: Path, values: Mapping[str, object]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    body = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(body)
