"""An objective of two requests, as adapters to other trainers meet them: look something up, then answer by what was found."""

from __future__ import annotations

from memagent.types import ImagePart, user_message
from memagent_training.adapters.episodes import Episodes
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import Episode, EpisodeResult, PlainBatches, PolicyRequest, Task, WorkItem

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"
)
ROWS = [{"id": "q0", "question": "Where is Rex?", "answer": "Lima"}, {"id": "q1", "question": "Who came?", "answer": "Ada"}]


class LookUp(PlainBatches):
    """`look`: 0.5 when the search is the last word of the question; `answer`: 1 when right, by a work item.

    `raises` is raised after the search.
    """

    gives = Rewards(ranges={"look": (0.0, 0.5), "answer": (0.0, 1.0)}, primary="answer")

    def __init__(self, *, raises: Exception | None = None) -> None:
        self.raises = raises

    def episode(self, task: Task, *, seed: int) -> Episode:
        asked = str(task["question"])
        found = yield PolicyRequest((user_message(f"Search for: {asked}"),), max_tokens=8, role="search", seed=seed)
        if self.raises is not None:
            raise self.raises
        page = user_message(asked, ImagePart(data=PIXEL))
        said = yield PolicyRequest((page,), max_tokens=4, temperature=0.5, role="answer", seed=seed)
        right = said.text == task["answer"]
        right = right and (yield WorkItem(int, (str(task.get("checks", 1)),))) > 0
        rewards = {"look": 0.5 * (found.text == asked.rsplit(maxsplit=1)[-1].strip("?")), "answer": float(right)}
        return EpisodeResult(rewards=rewards, answer=said.text, correct=right, valid=said.stop_reason == "stop")


def episodes(*, raises: Exception | None = None) -> Episodes:
    return Episodes(LookUp(raises=raises), splits={"train": ROWS, "test": ROWS[:1]})
