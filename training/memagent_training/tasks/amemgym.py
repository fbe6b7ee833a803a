"""AMemGym users as tasks: for the objective `environment`, whose policy keeps a note of a user through months of talk."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from memagent.errors import ConfigError
from memagent_training.tasks.base import Form, Row

if TYPE_CHECKING:
    from memagent.environments.amemgym.data import UserItem
    from memagent.environments.amemgym.environment import AMemGymEnvironment


@dataclass(frozen=True, kw_only=True)
class AMemGymUsers:
    """Procedural users with these sizes, or those of an environment file."""

    name: ClassVar[str] = "amemgym"
    form: ClassVar[Form] = "users"
    alphabet: ClassVar[str] = string.printable
    """What a tiny policy over characters can read; anything else is an unknown character to it."""

    questions: int = 10
    periods: int = 10
    """After the start."""
    changes: int = 4
    """Of values in a period; one more or less is drawn."""
    note_tokens: int = 256
    """Most tokens of a note."""
    talks: bool = False
    """Whether the policy replies to the user too."""
    data: str | None = None
    """An environment file, whose users take the place of procedural ones; relative to where the program runs."""

    def __post_init__(self) -> None:
        if self.note_tokens < 1:
            raise ConfigError(f"`note_tokens` is {self.note_tokens}; a note has 1 or more")

    @property
    def reply_tokens(self) -> int:
        """Most tokens of any action."""
        from memagent.environments.amemgym.environment import REPLY_TOKENS

        return max(self.note_tokens, REPLY_TOKENS) if self.talks else self.note_tokens

    def tasks(self, n: int, *, seed: int) -> list[Row]:
        """The first `n` users; of a file, all when there are fewer. Raises `InputError` for sizes that the bank cannot do."""
        return [{"id": item.id} for item in self._users(n, seed)]

    def worlds(self, n: int, *, seed: int) -> Callable[[], AMemGymEnvironment]:
        """Makes environments in which the same users live."""
        from memagent.environments.amemgym.environment import AMemGymEnvironment

        users = self._users(n, seed)
        return lambda: AMemGymEnvironment({"train": users}, note_tokens=self.note_tokens, talks=self.talks)

    def _users(self, n: int, seed: int) -> list[UserItem]:
        return users(n, seed=seed, data=self.data, sizes=(self.questions, self.periods, self.changes))


def users(n: int, *, seed: int, data: str | None, sizes: tuple[int, int, int]) -> list[UserItem]:
    """The first `n` users of an environment file, or procedural ones with so many questions, periods and changes a period."""
    from memagent.environments.amemgym.data import load_items
    from memagent.environments.amemgym.generate import generate_users, settings_from

    if data is not None:
        return load_items(data)[:n]
    names = ("num_questions", "num_periods", "num_changes_per_period")
    return generate_users(n, settings=settings_from(dict(zip(names, sizes, strict=True))), seed=seed)
