"""Who users are drawn from: a table of personas out of a file, else people drawn from the bank.

A file is a JSON list, or JSON lines, of records as the Nemotron persona tables have them: `uuid`, `age`, `sex` (or `gender`),
`marital_status`, `education_level`, `occupation`, and free texts. Lists may be strings that look like lists; they are parsed
as data and never run.
"""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from memagent.environments.amemgym.generate.users import draw_profile
from memagent.errors import InputError

_BASIC = ("marital_status", "education_level", "occupation")
_LISTS = ("hobbies_and_interests", "skills_and_expertise")
_PLACES = frozenset({"uuid", "age", "sex", "gender", "zipcode", *_BASIC, *_LISTS, *(f"{name}_list" for name in _LISTS)})
_LONGEST = 4_000
"""Characters of a free text that the model is shown."""


@dataclass(frozen=True)
class Persona:
    """A person before a name and a portrait are written."""

    uuid: str
    fields: dict[str, str | int]
    """Age, gender and the other basic fields of a profile; the lists as strings with commas."""
    texts: dict[str, str]
    """What else is known, in free words."""


def drawn_persona(uuid: str, rng: Random) -> Persona:
    """A person out of the bank; the same generator state gives the same one."""
    profile = draw_profile(uuid, rng)
    fields = {name: getattr(profile, name) for name in ("age", "gender", *_BASIC, *_LISTS)}
    return Persona(uuid, fields, {"name": profile.name, "about": profile.complementary_info})


def load_personas(path: str | Path) -> list[Persona]:
    """The personas of a file. Raises `InputError` that names the record."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line]
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is no JSON list and no JSON lines of personas: {error}") from error
    found = [_persona(row, f"{file}, record {number}") for number, row in enumerate(rows)]
    if len({one.uuid for one in found}) < len(found):
        raise InputError(f"{file} has two personas with the same uuid; each must have its own")
    return found


def _persona(row: Any, where: str) -> Persona:
    if not isinstance(row, dict):
        raise InputError(f"{where} is no object with fields")
    age = str(row.get("age", "")).strip()
    if not age.isdigit():
        raise InputError(f"{where}: `age` is {row.get('age')!r}, not a whole number")
    gender = row.get("gender") or row.get("sex")
    fields: dict[str, str | int] = {"age": int(age), "gender": str(gender or "")}
    fields |= {name: str(row.get(name) or "") for name in _BASIC}
    fields |= {name: _listed(row.get(f"{name}_list") or row.get(name) or "") for name in _LISTS}
    if lacking := [name for name in ("gender", *_BASIC) if not fields[name]]:
        raise InputError(f"{where} lacks {', '.join(lacking)}")
    texts = {name: text[:_LONGEST] for name, text in row.items() if isinstance(text, str) and text and name not in _PLACES}
    texts |= {
        f"about {name}": row[name][:_LONGEST] for name in _LISTS if f"{name}_list" in row and isinstance(row.get(name), str)
    }
    uuid = str(row.get("uuid") or hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:32])
    if Path(uuid).name != uuid or uuid in (".", ".."):
        raise InputError(f"{where}: the uuid {uuid!r} cannot be the name of a folder")
    return Persona(uuid, fields, texts)


def _listed(value: Any) -> str:
    """A list, or a string that looks like one, as a string with commas."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return str(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
