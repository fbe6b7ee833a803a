"""What is rolled out and rewarded: one module per objective. A recipe names one by its key in `OBJECTIVES`."""

from memagent_training.objectives.base import (
    Episode,
    EpisodeResult,
    Objective,
    ObjectiveSettings,
    PlainBatches,
    PolicyRequest,
    Roll,
    Task,
    WorkItem,
    in_worker,
)
from memagent_training.objectives.environment import EnvironmentSettings, InEnvironment
from memagent_training.objectives.memagent import MemagentSettings, TextMemory
from memagent_training.objectives.memocr_drafting import MemocrDrafting, MemocrSettings
from memagent_training.objectives.self_verify import SelfVerify, SelfVerifySettings
from memagent_training.objectives.single_turn import SingleTurn, SingleTurnSettings
from memagent_training.objectives.text_memocr import TextMemocr, TextMemocrSettings

OBJECTIVES: dict[str, type[ObjectiveSettings]] = {
    one.name: one
    for one in (
        SingleTurnSettings,
        SelfVerifySettings,
        TextMemocrSettings,
        EnvironmentSettings,
        MemocrSettings,
        MemagentSettings,
    )
}
"""Settings by name; `build` makes the objective."""

__all__ = [
    "OBJECTIVES",
    "Episode",
    "EpisodeResult",
    "InEnvironment",
    "MemocrDrafting",
    "Objective",
    "ObjectiveSettings",
    "PlainBatches",
    "PolicyRequest",
    "Roll",
    "SelfVerify",
    "SingleTurn",
    "Task",
    "TextMemocr",
    "TextMemory",
    "WorkItem",
    "in_worker",
]
