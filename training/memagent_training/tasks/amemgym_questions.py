"""AMemGym's periodic questions as questions about long texts: for objectives whose policy keeps a memory and reads it.

A context is all that was said in a user's sessions up to a period, the question one of that period with its options numbered,
the gold answer the number of the option that suits the user then. As in AMemGym the memory is kept before the question is
known: while it is drafted the problem is to remember the user, and only readings are asked the question. With the objective
`memocr` one memory so answers from its whole picture, from one of a sixteenth of it, and for a detail: the reward knows the
budget.
A guess earns one over the number of options; rewards are compared within a group, so this adds noise and no bias.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from memagent.errors import ConfigError
from memagent.memory.memocr.loops import ANY_PROBLEM
from memagent_training.tasks.amemgym import users
from memagent_training.tasks.base import Form, Row

if TYPE_CHECKING:
    from memagent.environments.amemgym.data import UserItem
    from memagent.environments.amemgym.dialogues import Dialogue


@dataclass(frozen=True, kw_only=True)
class AMemGymQuestions:
    """Questions about procedural users with these sizes, or about those of an environment file."""

    name: ClassVar[str] = "amemgym_questions"
    form: ClassVar[Form] = "long_text"
    alphabet: ClassVar[str] = string.printable

    questions: int = 10
    periods: int = 10
    """After the start."""
    changes: int = 4
    """Of values in a period; one more or less is drawn."""
    data: str | None = None
    """An environment file, whose users take the place of procedural ones; relative to where the program runs."""
    focused: bool = False
    """Whether the question is known while the memory is drafted."""

    def tasks(self, n: int, *, seed: int) -> list[Row]:
        """The first `n` questions, user by user and period by period; of a file, all when there are fewer.

        Raises `InputError` for sizes that the bank cannot do, `ConfigError` for a file in which nothing is asked.
        """
        most = n if self.data is not None else -(-n // max(1, self.questions * (self.periods + 1)))
        people = users(most, seed=seed, data=self.data, sizes=(self.questions, self.periods, self.changes))
        found = list(islice((row for item in people for row in self._asked(item, seed)), n))
        if n and not found:
            raise ConfigError(f"`{self.data}` asks nothing that has a right option; give users with questions (`qas`)")
        return found

    def _asked(self, item: UserItem, seed: int) -> Iterator[Row]:
        from memagent.environments.amemgym.assistants.base import ACKNOWLEDGED
        from memagent.environments.amemgym.data import golden_index
        from memagent.environments.amemgym.dialogues import Rounds, run_dialogues
        from memagent.environments.amemgym.rule_reader import question_text
        from memagent.environments.amemgym.simulated_user import NeutralUser

        said: list[Dialogue] = []
        for number, period in enumerate(item.periods):
            # as `AMemGymEnvironment` holds them with an agent that keeps silent
            said += run_dialogues(item, number, lambda _: ACKNOWLEDGED, NeutralUser(seed=seed), rounds=Rounds())
            context = "\n\n".join(
                f"Conversation {place}:\n" + "\n".join(f"{one.role}: {one.content}" for one in dialogue)
                for place, dialogue in enumerate(said, 1)
            )
            for place, question in enumerate(item.qas):
                right = golden_index(question, period.state)
                if right is None:
                    continue
                asked = f"{question_text(question)}\n\nThe answer is the number of one of them."
                row: Row = {"id": f"{item.id}/{number}/{place}", "question": asked, "context": context}
                yield row | {"answers": [str(right + 1)], "problem": asked if self.focused else ANY_PROBLEM}
