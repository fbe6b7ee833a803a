"""A memory of your own in one file: the last things said, nothing else."""

from collections.abc import Collection

from memagent import Budget, Memory, Recall


class LastWords(Memory):
    """Shows the newest messages that fit."""

    kind = "last_words"

    def recall(
        self, query: str, *, budget: int | Budget | None = None, session: str | None = None, exclude: Collection[str] = ()
    ) -> Recall:
        newest = self.messages(session=session)[::-1]
        return self.view((message for message in newest if message.id not in exclude), budget)
