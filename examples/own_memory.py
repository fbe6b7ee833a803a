"""A memory of your own in one file: the last things said, nothing else."""

from collections.abc import Collection

from memagent import Budget, Memory, Recall, Store


class LastWords(Memory):
    """Shows the newest messages that fit."""

    kind = "last_words"

    def recall(
        self, query: str, *, budget: int | Budget | None = None, session: str | None = None, exclude: Collection[str] = ()
    ) -> Recall:
        newest_first = self.messages(session=session, exclude=exclude)[::-1]
        return self.view(newest_first, budget)


if __name__ == "__main__":
    with Store("mem") as store:
        memory = store.memory(LastWords, user="ada")
        memory.add("My dog is called Biscuit.")
        print(memory.recall("What is my dog called?", budget=60).text)
