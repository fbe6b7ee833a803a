"""Our episodes as an OpenEnv environment (openenv 0.10.0): whoever trains with it can train in ours, over HTTP and WebSocket.

An observation is the request that waits for the policy: messages in OpenAI's form (pictures as data URLs), most tokens, role.
The action is what the policy says. At the end an observation has `done`, the reward, and in its metadata the rewards by key.
Each session has an attempt of its own; rows are shared and only read, so sessions run side by side.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from pydantic import Field

from memagent.errors import InputError, MissingExtra
from memagent.models.convert import chat_messages
from memagent_training.adapters.episodes import Attempt, Episodes

try:
    from openenv.core.env_server import Action, Environment, Observation, State, create_app
except ImportError as error:
    raise MissingExtra("OpenEnv", "pip install openenv, in an environment of its own") from error


class Say(Action):  # type: ignore[misc]
    """What the policy says."""

    text: str
    cut: bool = False
    """Whether it ran into its limit of tokens."""


class RequestObservation(Observation):  # type: ignore[misc]
    """What the policy is asked; no messages at the end."""

    messages: list[dict[str, Any]] = Field(default_factory=list)
    max_tokens: int = 0
    role: str = ""


class MemagentEnvironment(Environment):  # type: ignore[misc]
    """One attempt at a time, at any task of `episodes`."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, episodes: Episodes) -> None:
        super().__init__()
        self._episodes = episodes
        self._attempt: Attempt | None = None
        self._id = ""

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        *,
        split: str = "train",
        index: int | None = None,
        **kwargs: Any,
    ) -> RequestObservation:
        """Begin an attempt at a task; without `index` the seed chooses one. Raises `InputError` for one that there is not."""
        chosen = (seed or 0) % len(self._episodes.rows(split)) if index is None else index
        self._attempt = self._episodes.start(split=split, index=chosen, seed=seed or 0)
        self._id = episode_id or uuid4().hex
        return self._asked(self._attempt)

    def step(self, action: Say, timeout_s: float | None = None, **kwargs: Any) -> RequestObservation:
        """Go on with what the policy said. Raises `InputError` before `reset` and after the end."""
        if self._attempt is None:
            raise InputError("no attempt has begun: call reset first")
        self._attempt.reply(action.text, cut=action.cut)
        return self._asked(self._attempt)

    @property
    def state(self) -> State:
        """How many replies were given."""
        return State(episode_id=self._id, step_count=0 if self._attempt is None else self._attempt.turns)

    def list_splits(self) -> list[str]:
        """Names of the splits."""
        return list(self._episodes.splits)

    def num_tasks(self, split: str) -> int:
        """Tasks of a split."""
        return len(self._episodes.rows(split))

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """A task without what it asks and its answer, which only an attempt may show. Raises `IndexError`."""
        return {"id": str(self._episodes.rows(split)[index]["id"]), "index": index}

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
        """Tasks from `start` to before `stop`."""
        return [self.get_task(split, index) for index in range(self.num_tasks(split))[slice(start, stop)]]

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """All tasks of a split."""
        return self.get_task_range(split)

    def _asked(self, attempt: Attempt) -> RequestObservation:
        if attempt.request is not None:
            request = attempt.request
            return RequestObservation(
                messages=chat_messages(request.messages), max_tokens=request.max_tokens, role=attempt.role
            )
        assert attempt.result is not None
        end = attempt.result
        facts = {"rewards": end.rewards, "turn_rewards": list(end.turn_rewards), "correct": end.correct, "valid": end.valid}
        reward = None if attempt.failed else attempt.reward  # what the world failed is no data
        return RequestObservation(done=True, reward=reward, metadata={**facts, "failed": attempt.failed})


def make_app(episodes: Episodes, *, name: str = "memagent", sessions: int = 64) -> Any:
    """A FastAPI application of the environment: `uvicorn.run(make_app(...))` serves it."""
    return create_app(
        lambda: MemagentEnvironment(episodes), Say, RequestObservation, env_name=name, max_concurrent_envs=sessions
    )
