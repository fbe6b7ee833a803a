"""Everything, as long as it fits: the memory that other kinds are compared with.

Strategies for what does not fit: `tail` keeps the newest, `middle` keeps the oldest and the newest halves and cuts out
the middle, `whole` cuts nothing and raises `BudgetError`. Cuts are exact to the token by the reader's own count.
"""

from __future__ import annotations

from collections.abc import Collection
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
        """The log's lines in order, cut by the strategy. The query plays no part. Raises `InputError` and `BudgetError`."""
        allowed = self._asked(query, budget, session, exclude)
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return text_recall([], allowed, kind=self.kind)
            total = log.count(connection, user, session=session, exclude=exclude)

            def packed(tokens: int, *, newest_first: bool) -> list[ViewLine]:
                found = log.read(connection, user, session=session, newest_first=newest_first)
                lines = (line_of(one) for one in found if one.message.id not in exclude)
                return pack(lines, Budget(tokens, allowed.reader))

            chosen = packed(allowed.tokens, newest_first=True)
            whole = sum(not line.shortened for line in chosen)
            if self.strategy == "middle" and whole < total and allowed.tokens > 1:
                head = packed(allowed.tokens // 2, newest_first=False)
                shown = {line.order for line in head}
                tail = [line for line in packed(allowed.tokens // 2, newest_first=True) if line.order not in shown]
                while tail and allowed.reader.count(joined([*head, *tail])) > allowed.tokens:
                    tail.pop()
                chosen = [*head, *tail]
        if self.strategy == "whole" and whole < total:
            raise BudgetError(
                f"the whole memory, {total} messages, does not fit into {allowed.tokens} tokens; raise the budget, or "
                "use strategy='tail' or 'middle', or memory 'rag'"
            )
        return text_recall(chosen, allowed, kind=self.kind, dropped=total - sum(not line.shortened for line in chosen))
