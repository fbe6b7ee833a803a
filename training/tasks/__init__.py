"""Families of verifiable tasks that a tiny policy learns on a laptop."""

from training.tasks.arithmetic import Arithmetic
from training.tasks.base import CharacterFamily, Check, Row, Split, TaskFamily
from training.tasks.cipher import Cipher
from training.tasks.strings import Strings

TASKS: dict[str, type[CharacterFamily]] = {family.name: family for family in (Cipher, Arithmetic, Strings)}

__all__ = ["TASKS", "Arithmetic", "CharacterFamily", "Check", "Cipher", "Row", "Split", "Strings", "TaskFamily"]
