"""What is rolled out and rewarded: one module per objective."""

from training.objectives.base import Ask, Objective, Outcome, PlainBatches, Roll, Task
from training.objectives.environment import InEnvironment
from training.objectives.relay import Relay
from training.objectives.self_verify import SelfVerify
from training.objectives.single_turn import SingleTurn

__all__ = ["Ask", "InEnvironment", "Objective", "Outcome", "PlainBatches", "Relay", "Roll", "SelfVerify", "SingleTurn", "Task"]
