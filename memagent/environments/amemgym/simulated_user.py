"""Who goes on with a conversation after its opening: a model that plays the user, or neutral questions without one.

A follow-up keeps the talk going and gives nothing away: what a session exposes stands in its opening alone. Every follow-up
of a `GuardedUser` is looked through for anything about the user's variables; one that leaks is drawn again, and after some
tries a neutral one takes its place. All of that is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from memagent.environments.amemgym.data import UserItem, UserSession
from memagent.models.base import ChatModel
from memagent.types import Usage, user_message

LeakCheck = Callable[[str], set[str]]
"""Variables about which a text says anything."""
TEMPERATURE = 0.2
TRIES = 3
_WORD = re.compile(r"[^\W_]+")
ANSWER_TOKENS = 512

NEUTRAL = (
    "Could you go into a little more detail on that?",
    "That helps. Which step should come first?",
    "Are there any alternatives worth considering?",
    "What are the most common mistakes to avoid here?",
    "Can you sum that up in two or three points?",
    "How would I tell whether it is working?",
    "Interesting. What would you recommend as a next step?",
    "Is there anything else that should be kept in mind?",
    "Could you give an example of what you mean?",
    "And what if it does not turn out as planned?",
)

PROMPT = """\
You play a person who talks with an assistant. Write this person's next message.

<profile>
{profile}
</profile>
The conversations began on {start}; today is {today}.
The person opened this conversation with:
<opening>
{opening}
</opening>
The last two messages are:
<person>
{said}
</person>
<assistant>
{reply}
</assistant>
These properties of the person, with all values that they can have, must stay secret:
<secret>
{schema}
</secret>
Go on in any case, never say goodbye. When the assistant asks something back, answer only with facts that are none of the secret
properties and from which nobody could guess one. Tell no personal facts on your own, and repeat none. Otherwise ask what such a
person would ask next: for details, for alternatives, for the next step. Write the message alone, without quotation marks."""


@dataclass(frozen=True)
class SessionPlace:
    """Where a conversation takes place."""

    item: UserItem
    period: int
    session: UserSession


class SimulatedUser(Protocol):
    """Says what comes next."""

    def follow_up(self, scene: SessionPlace, said: str, reply: str, *, attempt: int = 0) -> str:
        """The next message of the user, after what was said last and the reply to it; each attempt is drawn anew."""
        ...


class NeutralUser:
    """Asks on without a model: a question that fits any reply and tells nothing of the user. Seeded, never twice in a row."""

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    def follow_up(self, scene: SessionPlace, said: str, reply: str, *, attempt: int = 0) -> str:
        """A neutral question; the same one for the same place, seed and attempt."""
        draw = Random(f"{self._seed + attempt}:{scene.item.id}:{scene.session.session_time}:{said}")
        return draw.choice([one for one in NEUTRAL if one != said])


class ModelUser:
    """Played by a model that sees the profile and, as what is secret, the schema; not the user's present values."""

    def __init__(self, model: ChatModel, *, seed: int = 0) -> None:
        self._model, self._seed = model, seed
        self.usage = Usage()

    def follow_up(self, scene: SessionPlace, said: str, reply: str, *, attempt: int = 0) -> str:
        period = scene.item.periods[scene.period]
        prompt = PROMPT.format(
            profile=scene.item.user_profile.formatted_str,
            start=scene.item.start_time,
            today=period.period_end,
            opening=f"[Current Time: {scene.session.session_time}]\n{scene.session.query}",
            said=said,
            reply=reply,
            schema="\n".join(f"{name}: {', '.join(values)}" for name, values in scene.item.state_schema.items()),
        )
        seed = self._seed + attempt
        answer = self._model.generate([user_message(prompt)], temperature=TEMPERATURE, max_tokens=ANSWER_TOKENS, seed=seed)
        self.usage += answer.usage
        return answer.text.strip()


class GuardedUser:
    """A user whose follow-ups are looked through, by what may not be said of this one user."""

    def __init__(self, inner: SimulatedUser, leaks: LeakCheck, *, seed: int = 0) -> None:
        self._inner, self._leaks, self._neutral = inner, leaks, NeutralUser(seed=seed)
        self.counts: Counter[str] = Counter()
        """`said`, `leaked` (drawn again), `empty` (drawn again), `replaced` by a neutral question."""

    def follow_up(self, scene: SessionPlace, said: str, reply: str, *, attempt: int = 0) -> str:
        self.counts["said"] += 1
        for number in range(attempt, attempt + TRIES):
            drawn = self._inner.follow_up(scene, said, reply, attempt=number)
            if drawn and not self._leaks(drawn):
                return drawn
            self.counts["leaked" if drawn else "empty"] += 1
        self.counts["replaced"] += 1
        return self._neutral.follow_up(scene, said, reply)


def named_values(item: UserItem) -> LeakCheck:
    """A check for any data: variables one of whose values stands in a text by its name."""
    phrases = [(name, _spaced(one)) for name, values in item.state_schema.items() for one in values]

    def check(text: str) -> set[str]:
        said = _spaced(text)
        return {name for name, phrase in phrases if phrase.strip() and phrase in said}

    return check


def _spaced(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.casefold()))} "
