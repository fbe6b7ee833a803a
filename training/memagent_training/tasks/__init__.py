"""Families of verifiable tasks that a tiny policy learns on a laptop."""

from memagent_training.tasks.arithmetic import Arithmetic
from memagent_training.tasks.base import CharacterFamily, Check, Row, Split, TaskFamily
from memagent_training.tasks.cipher import Cipher
from memagent_training.tasks.strings import Strings

TASKS: dict[str, type[CharacterFamily]] = {family.name: family for family in (Cipher, Arithmetic, Strings)}

__all__ = ["TASKS", "Arithmetic", "CharacterFamily", "Check", "Cipher", "Row", "Split", "Strings", "TaskFamily"]
