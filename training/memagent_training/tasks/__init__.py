"""Where questions come from: families that a tiny policy learns on a laptop, files, data sets, users.

A recipe names one by its key in `TASKS`. A task of one's own has a `name`, a `form`, the `alphabet` of its texts ("" for any),
and `tasks(n, seed=)`, its rows; the objectives say what they need besides (`Checker`, `VerificationFormat`).
"""

from memagent_training.tasks.amemgym import AMemGymUsers
from memagent_training.tasks.amemgym_questions import AMemGymQuestions
from memagent_training.tasks.arithmetic import Arithmetic
from memagent_training.tasks.base import CharacterFamily, Check, Form, Row, Split
from memagent_training.tasks.cipher import Cipher
from memagent_training.tasks.file import FileTasks
from memagent_training.tasks.long_qa import LongQuestions
from memagent_training.tasks.strings import Strings

FAMILIES: dict[str, type[CharacterFamily]] = {family.name: family for family in (Cipher, Arithmetic, Strings)}
TASKS: dict[str, type] = {
    **FAMILIES,
    **{one.name: one for one in (FileTasks, AMemGymUsers, AMemGymQuestions, LongQuestions)},
}

__all__ = [
    "FAMILIES",
    "TASKS",
    "AMemGymQuestions",
    "AMemGymUsers",
    "Arithmetic",
    "CharacterFamily",
    "Check",
    "Cipher",
    "FileTasks",
    "Form",
    "LongQuestions",
    "Row",
    "Split",
    "Strings",
]
