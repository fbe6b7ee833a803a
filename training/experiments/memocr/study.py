"""The arms of one seed, trained from the same start and kept in files: what is there is not made again.

<out>/<mode>/seed-<s>/start.pt            the policy after the skill stage, shared by the arms
<out>/<mode>/seed-<s>/<arm>/policy.pt     after RL
<out>/<mode>/seed-<s>/<arm>/history.json  learning curve and seconds
<out>/<mode>/seed-<s>/<arm>/pages.jsonl   one page for each test question, drawn by nothing yet
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from memagent.environments.long_qa.synthetic_qa import WorldQuestion, world_questions
from memagent.errors import InputError
from training.experiments.memocr.eye import Eye
from training.experiments.memocr.learn import History, learn
from training.experiments.memocr.page import TIERS, Line
from training.experiments.memocr.policy import SizePolicy, see
from training.experiments.memocr.settings import ARMS, SizeSettings
from training.experiments.memocr.skill import skilled

SPLIT = "test"
TEMPERATURE = 0.7
"""Of the pages that are judged, as in the published evaluation."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Drafted:
    """A test question and the page that an arm wrote for it."""

    question: WorldQuestion
    lines: tuple[Line, ...]


class Study:
    """The files of a run of one mode."""

    def __init__(self, out: Path, settings: SizeSettings, *, say: Say = lambda _: None) -> None:
        """Raises `InputError` where `out` holds a run of other settings."""
        self.settings = settings
        self.folder = out / settings.mode
        self._say = say
        self._eye = Eye.packaged()
        self.fingerprint = _digest({"settings": asdict(settings), "eye": asdict(self._eye)})
        note = self.folder / "settings.json"
        if note.exists():
            kept = json.loads(note.read_text("utf-8"))["fingerprint"]
            if kept != self.fingerprint:
                raise InputError(f"{self.folder} holds a run of other settings ({kept}); give another folder with --out")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(note, json.dumps({"fingerprint": self.fingerprint, "settings": asdict(settings)}, indent=1))

    def drafted(self, arm: str, seed: int, *, questions: int) -> list[Drafted]:
        """The pages of an arm for so many test questions; the arm is trained first where that was not done."""
        asked = world_questions(questions, split=SPLIT, seed=seed, settings=self.settings.worlds())
        path = self._of(arm, seed) / "pages.jsonl"
        rows = [json.loads(row) for row in path.read_text("utf-8").splitlines()] if path.exists() else []
        if len(rows) < questions:
            rows = [{"id": one.id, "page": page} for one, page in zip(asked, self._write_pages(arm, seed, asked), strict=True)]
            _write(path, "".join(json.dumps(row) + "\n" for row in rows))
        return [
            Drafted(one, tuple(Line(tier, fact) for tier, fact in row["page"])) for one, row in zip(asked, rows, strict=False)
        ]

    def policy(self, arm: str, seed: int) -> SizePolicy:
        """The policy of an arm, trained where that was not done."""
        start = self._start(seed)
        weights, folder = ARMS[arm], self._of(arm, seed)
        if weights is None:
            return start
        path = folder / "policy.pt"
        if not path.exists():
            self._say(f"{self.settings.mode}, seed {seed}: training `{arm}`")
            trained, history = learn(start, weights, self.settings, seed=seed, eye=self._eye)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / "history.json", json.dumps(asdict(history), indent=1))
            _save(trained, path)
        return self._load(path)

    def history(self, arm: str, seed: int) -> History:
        """How an arm was trained. Call `policy` first."""
        return History(**json.loads((self._of(arm, seed) / "history.json").read_text("utf-8")))

    def _write_pages(self, arm: str, seed: int, asked: Sequence[WorldQuestion]) -> list[list[tuple[str, int]]]:
        policy = self.policy(arm, seed)
        (self._of(arm, seed)).mkdir(parents=True, exist_ok=True)
        pages = []
        for one in asked:  # one by one, so that a longer list of questions begins with the same pages
            draw = torch.Generator().manual_seed(int(_digest(one.id), 16) % 2**31)
            draft = policy.draw(see([one]), group=1, draw=draw, temperature=TEMPERATURE)
            facts, tiers = draft.facts[0].tolist(), draft.tiers[0].tolist()
            pages.append([(TIERS[tier], fact) for fact, tier in sorted(zip(facts, tiers, strict=True))])
        return pages

    def _start(self, seed: int) -> SizePolicy:
        path = self.folder / f"seed-{seed}" / "start.pt"
        if not path.exists():
            self._say(f"{self.settings.mode}, seed {seed}: skill stage")
            policy, found = skilled(self.settings, seed=seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path.with_name("start.json"), json.dumps({"chains_found": found}))
            _save(policy, path)
        return self._load(path)

    def _load(self, path: Path) -> SizePolicy:
        policy = SizePolicy(self.settings)
        policy.load_state_dict(torch.load(path, weights_only=True))
        return policy.eval()

    def _of(self, arm: str, seed: int) -> Path:
        return self.folder / f"seed-{seed}" / arm


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


def _save(policy: SizePolicy, path: Path) -> None:
    draft = path.with_suffix(".tmp")
    torch.save(policy.state_dict(), draft)
    draft.replace(path)


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text, "utf-8")
    draft.replace(path)
