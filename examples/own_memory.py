"""A memory of your own in one file: the last things said, nothing else."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from memagent.db import log
from memagent.memory.base import Memory
from memagent.memory.view import joined, line_of, pack
from memagent.types import Recall
from memagent_renderers.budget import Budget


class LastWords(Memory):
    """Shows the newest messages that fit."""

    kind: ClassVar[str] = "last_words"

    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """The newest lines, whatever the query."""
        allowed = self._budget(budget)
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            found = [] if user is None else list(log.read(connection, user, session=session, newest_first=True))
        lines = pack((line_of(one) for one in found if one.message.id not in exclude), allowed)
        view = joined(lines)
        return Recall(
            view=view,
            cost=allowed.reader.count(view),
            budget=allowed.tokens,
            kind=self.kind,
            exact=allowed.reader.exact,
            sources=tuple(line.source for line in sorted(lines, key=lambda line: line.order)),
            dropped=len(found) - len(lines),
        )
