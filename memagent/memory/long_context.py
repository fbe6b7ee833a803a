"""Everything, as long as it fits: the memory that other kinds are compared with.

Strategies for what does not fit: `tail` keeps the newest, `middle` keeps the oldest and the newest halves and cuts out
the middle, `whole` cuts nothing and raises `BudgetError`. Cuts are exact to the token by the reader's own count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Literal, get_args

from memagent.db import log
from memagent.errors import BudgetError, InputError
from memagent.memory.backend import HasBackend
from memagent.memory.base import Memory
from memagent.memory.view import ViewLine, joined, line_of, pack, text_recall
from memagent.types import Recall
from memagent_renderers.budget import Budget

Strategy = Literal["tail", "middle", "whole"]


class LongContextMemory(Memory):
    """The log itself, cut to the budget."""

    kind: ClassVar[str] = "long_context"

    def __init__(self, store: HasBackend, *, strategy: Strategy = "tail", **options: Any) -> None:
        super().__init__(store, **options)
        if strategy not in get_args(Strategy):
            raise InputError(f"strategy is one of {', '.join(get_args(Strategy))}, not {strategy!r}")
        self.strategy: Strategy = strategy

    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """The log's lines in order, cut by the strategy. The query plays no part."""
        allowed = self._asked(query, budget, session, exclude)
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            total = 0 if user is None else log.count(connection, user, session=session, exclude=exclude)
            chosen = [] if user is None else self._chosen(connection, user, session, exclude, allowed, total)
        if self.strategy == "whole" and len(chosen) < total:
            raise BudgetError(
                f"the whole memory, {total} messages, does not fit into {allowed.tokens} tokens; raise the budget, or "
                "use strategy='tail' or 'middle', or memory 'rag'"
            )
        return text_recall(chosen, allowed, kind=self.kind, dropped=total - len(chosen))

    def _chosen(
        self,
        connection: log.Connection,
        user: int,
        session: str | None,
        exclude: Collection[str],
        budget: Budget,
        total: int,
    ) -> list[ViewLine]:
        def lines(allowed: Budget, *, newest_first: bool) -> list[ViewLine]:
            found = log.read(connection, user, session=session, newest_first=newest_first)
            return pack(_enough((one for one in found if one.message.id not in exclude), allowed), allowed)

        newest = lines(budget, newest_first=True)
        if self.strategy == "whole":
            return _whole_lines(newest)
        if self.strategy == "tail" or budget.tokens < 2 or len(_whole_lines(newest)) == total:
            return newest
        half = Budget(budget.tokens // 2, budget.reader)
        head = lines(half, newest_first=False)
        shown = {line.order for line in head}
        tail = [line for line in lines(half, newest_first=True) if line.order not in shown]
        while tail and budget.reader.count(joined([*head, *tail])) > budget.tokens:
            tail.pop()
        return [*head, *tail]


def _whole_lines(lines: list[ViewLine]) -> list[ViewLine]:
    return [line for line in lines if not line.shortened]


def _enough(found: Iterable[log.Stored], budget: Budget) -> list[ViewLine]:
    """Lines until they are sure to be more than the budget holds."""
    lines: list[ViewLine] = []
    characters = 0
    for stored in found:
        lines.append(line_of(stored))
        characters += len(lines[-1].text)
        if characters > 40 * budget.tokens:
            break
    return lines
