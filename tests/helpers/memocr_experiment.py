"""The MemOCR study made small: settings, questions, and a policy whose heads are not 0."""

from __future__ import annotations

from dataclasses import replace

import torch

from memagent.environments.long_qa.synthetic_qa import WorldQuestion, WorldSettings, world_questions
from training.experiments.memocr.model import DraftModel
from training.experiments.memocr.settings import DraftShape, NetSettings, RlSettings, SftSettings, StudySettings
from training.experiments.memocr.sft import fresh_model

SMALL = StudySettings(
    sentence_chars=60,
    draft=DraftShape(facts=8, quota=4),
    net=NetSettings(width=16, heads=2, layers=2),
    sft=SftSettings(batches=4, batch=8, pool=32, drafts=0.5),
    rl=RlSettings(batches=2, questions=2, group=4, pool=8, save_every=1, log_every=1, warmup_steps=0, learning_rate=1e-2),
)


def questions(count: int, *, hops: tuple[int, ...] = (1, 2, 3), facts: int = 8, split: str = "train") -> list[WorldQuestion]:
    return world_questions(count, split=split, seed=3, settings=WorldSettings(facts=facts, hops=hops, sentence_chars=60))


def opinionated(*, quota: int = 4) -> DraftModel:
    model = fresh_model(replace(SMALL, draft=DraftShape(facts=8, quota=quota)), seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        torch.nn.init.normal_(model.tier.weight)
        torch.nn.init.normal_(model.choose.weight)
    return model
