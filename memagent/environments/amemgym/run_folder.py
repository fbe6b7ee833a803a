"""The folder of a run: what it is a run of, and nothing secret.

`run.json` holds the settings and a digest of the data; a folder goes on with the same run alone. Configurations, of which only
the part without keys comes here, are written as `agent_config.json` of each assistant and, as the released evaluator does, of
each user.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memagent.environments.amemgym.data import UserItem, read_json, write_json
from memagent.errors import ConfigError, InputError

RUN = "run.json"
CONFIG = "agent_config.json"
_DRAFT = re.compile(r"\.period_\d+|\..+\.json\..+")


def open_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder of a run, or go on with it. Raises `ConfigError` naming what differs from the run that it holds."""
    file = folder / RUN
    wanted = json.loads(json.dumps(settings))
    if file.exists():
        found = read_json(file)
        known = found if isinstance(found, dict) else {}
        for name in {**wanted, **known}:
            if known.get(name) != wanted.get(name):
                raise ConfigError(
                    f"{folder} holds a run with {name} {_short(known.get(name))}, this one has {_short(wanted.get(name))}; "
                    "go on with the same settings and data, or name another folder"
                )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no run; name another folder")
    else:
        write_json(wanted, file)
    for draft in [one for one in folder.rglob(".*") if _DRAFT.fullmatch(one.name)]:  # left by a run that was killed
        shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)


def write_config(config: Mapping[str, Any], folder: Path, items: Sequence[UserItem]) -> None:
    """Write an assistant's configuration beside its users and with each of them."""
    for place in (folder, *(folder / item.id for item in items)):
        write_json(dict(config), place / CONFIG)


def digest_of(items: Sequence[UserItem]) -> str:
    """SHA-256 of users as they are written."""
    found = hashlib.sha256()
    for item in items:
        found.update(item.model_dump_json().encode() + b"\n")
    return found.hexdigest()


def check_names(items: Sequence[UserItem]) -> None:
    """Raise `InputError` for a user whose id cannot be the name of a folder, or comes twice."""
    ids = [item.id for item in items]
    for one in ids:
        if Path(one).name != one or one.startswith(".") or ids.count(one) > 1:
            raise InputError(f"the user id {one!r} cannot be the name of a folder of its own; mend the data")


def plain_name(model: str) -> str:
    """The name of a model without its provider, as official files have it."""
    return model.partition(":")[2] or model


def model_folder(model: str) -> Path:
    """Where the upper bound of a model goes: a folder of its plain name, where official figure configurations look for it."""
    parts = [re.sub("[^A-Za-z0-9._-]+", "_", part).strip("._") for part in plain_name(model).split("/")]
    return Path(*[part for part in parts if part] or ["model"])


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:119]}…"
