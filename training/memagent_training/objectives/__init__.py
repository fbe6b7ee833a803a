"""What is rolled out and rewarded: one module per objective."""

from memagent_training.objectives.base import EpisodeResult, Objective, PlainBatches, PolicyRequest, Roll, Task
from memagent_training.objectives.environment import InEnvironment
from memagent_training.objectives.self_verify import SelfVerify
from memagent_training.objectives.single_turn import SingleTurn
from memagent_training.objectives.text_memocr import TextMemocr

__all__ = [
    "EpisodeResult",
    "InEnvironment",
    "Objective",
    "PlainBatches",
    "PolicyRequest",
    "Roll",
    "SelfVerify",
    "SingleTurn",
    "Task",
    "TextMemocr",
]
