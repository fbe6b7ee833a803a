"""Many users at once by a model. A user that cannot be written fails with the reason and leaves the others alone.

A call cache is the caller's: wrapped around the model, it makes a second run go on where the first one stopped, because a
user asks the same things in the same order whatever happens around it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from random import Random

from memagent.environments.amemgym.data import UserItem, read_json, save_items, write_json
from memagent.environments.amemgym.generate.by_model.personas import Persona, drawn_persona
from memagent.environments.amemgym.generate.by_model.user import write_user
from memagent.environments.amemgym.generate.by_model.writer import Writer
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.working_files import PROFILES, claim
from memagent.errors import InputError, ModelError
from memagent.models.base import ChatModel
from memagent.models.concurrency import FATAL_STATUS, CallPool
from memagent.types import Usage

WRITER_VERSION = 1
"""Changes when the same answers of a model give other users."""


@dataclass(frozen=True)
class GeneratedUser:
    """How one user came out."""

    id: str
    index: int
    item: UserItem | None
    """None where it failed."""
    reason: str | None
    """Why it failed."""
    usage: Usage
    retries: int
    """Calls made because an answer was rejected."""
    repairs: int
    """Calls made because a reader did not take a text as it was meant."""


@dataclass(frozen=True)
class Generation:
    """A whole run, users in their order."""

    users: list[GeneratedUser] = field(default_factory=list)

    @property
    def items(self) -> list[UserItem]:
        return [one.item for one in self.users if one.item is not None]

    @property
    def failed(self) -> dict[str, str]:
        return {one.id: one.reason for one in self.users if one.reason is not None}

    @property
    def usage(self) -> Usage:
        return sum((one.usage for one in self.users), Usage())

    @property
    def retries(self) -> int:
        return sum(one.retries for one in self.users)

    @property
    def repairs(self) -> int:
        """Calls made because a reader did not take a text as it was meant."""
        return sum(one.repairs for one in self.users)


def generate_by_model(
    model: ChatModel,
    out: str | Path,
    *,
    settings: GeneratorSettings,
    n: int | None = None,
    seed: int | None = None,
    personas: Sequence[Persona] | None = None,
    limit: CallPool | None = None,
    tick: Callable[[int], None] | None = None,
    done: Callable[[GeneratedUser], None] | None = None,
) -> Generation:
    """Write `raw/` and `data.json` of users under `out`, as many at a time as `limit` lets calls be made (default 1).

    Without `personas` people are drawn from the bank. `tick` gets the calls just made, `done` each user when it ends; both
    are called by the threads that write. Raises `ModelError` when no user came out, and at once when every other call would
    fail as well, as with a wrong key.
    """
    used = settings.seed if seed is None else seed
    people = _people(settings.num_user_profiles if n is None else n, model.name, settings, used, personas)
    root = Path(out) / "raw"
    claim(root, [one.uuid for one in people])
    limit = limit or CallPool(1)

    def write(place: tuple[int, Persona]) -> GeneratedUser:
        index, persona = place
        writer = Writer(model, key=f"{used}:{persona.uuid}", limit=limit, tick=tick)
        origin: dict[str, object] = {"version": WRITER_VERSION, "settings": settings.fingerprint(), "seed": used}
        origin |= {"index": index, "model": model.name}
        item, reason = None, None
        limit.go_on()
        try:
            item = write_user(writer, persona, root / persona.uuid, settings=settings, provenance=origin)
        except ModelError as error:
            if error.status in FATAL_STATUS:
                raise
            reason = str(error)
        tally = writer.tally
        written = GeneratedUser(persona.uuid, index, item, reason, tally.usage, tally.retries, writer.repairs)
        if done is not None:
            done(written)
        return written

    found = Generation(limit.map(write, enumerate(people)))
    files = [root / one.uuid / "user_profile.json" for one in people]  # also of users that failed later
    write_json([read_json(file) for file in files if file.is_file()], root / PROFILES)
    if people and not found.items:
        user, reason = next(iter(found.failed.items()))
        raise ModelError(f"none of the {len(people)} users could be written; the first, {user}: {reason}")
    save_items(found.items, Path(out) / "data.json")
    return found


def model_user_id(index: int, model: str, *, settings: GeneratorSettings, seed: int) -> str:
    said = f"{WRITER_VERSION}:{model}:{settings.fingerprint()}:{seed}:{index}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _people(n: int, model: str, settings: GeneratorSettings, seed: int, personas: Sequence[Persona] | None) -> list[Persona]:
    if n < 0:
        raise InputError(f"{n} users cannot be generated; give 0 or more")
    if personas is None:
        ids = ((index, model_user_id(index, model, settings=settings, seed=seed)) for index in count())
        kept = ((index, uuid) for index, uuid in ids if uuid not in settings.exclude_ids)
        return [drawn_persona(uuid, Random(f"{seed}:{index}:persona")) for index, uuid in islice(kept, n)]
    shuffled = Random(f"{seed}:personas").sample(personas, len(personas))
    found = [one for one in shuffled if one.uuid not in settings.exclude_ids][:n]
    if len(found) < n:
        raise InputError(f"{n} users are wanted, but there are only {len(found)} personas; ask for fewer")
    return found
