"""The size policy: its chances, its start, its learning, and the files of a study."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from memagent.environments.long_qa.synthetic_qa import WorldQuestion, world_questions
from memagent.errors import ConfigError, InputError, MemAgentError
from memagent_training.grpo.credit.memocr import memocr_advantages
from training.experiments.memocr import judge as judging
from training.experiments.memocr.eye import Eye
from training.experiments.memocr.judge import Job, Judged, judge, kept
from training.experiments.memocr.learn import _advantages, learn
from training.experiments.memocr.policy import Draft, SizePolicy, see
from training.experiments.memocr.report import Found, Tables, accuracy_table
from training.experiments.memocr.settings import ARMS, SizeSettings
from training.experiments.memocr.skill import skilled
from training.experiments.memocr.study import Study

SMALL = SizeSettings(
    facts=8,
    quota=3,
    hops=(1, 2),
    sentence_chars=60,
    width=16,
    heads=2,
    layers=2,
    skill_batches=3,
    skill_batch=8,
    skill_pool=16,
    pool=8,
    steps=3,
    questions=4,
    group=4,
    rate=1e-2,
    warm_up=0,
)


def questions(count: int, *, settings: SizeSettings = SMALL, hops: tuple[int, ...] = (1, 2)) -> list[WorldQuestion]:
    return world_questions(count, split="train", seed=4, settings=settings.worlds(hops))


def opinionated() -> SizePolicy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        policy = SizePolicy(SMALL)
        torch.nn.init.normal_(policy.pick.weight)
        torch.nn.init.normal_(policy.size.weight)
    return policy.eval()


def test_the_chances_of_all_picks_add_up_to_one() -> None:
    """Plackett-Luce: over all ordered picks of three of eight facts, with one tier each."""
    policy, seen = opinionated(), see(questions(1))
    picks = torch.tensor(list(itertools.permutations(range(8), 3)))
    found = policy.logprobs(seen, Draft(picks, torch.zeros_like(picks)))
    assert found[:, :3].sum(-1).exp().sum().item() == pytest.approx(1.0, abs=1e-4)
    _, tiers = policy(seen)
    assert tiers.exp().sum(-1).allclose(torch.ones(1, 8))


def test_drafts_are_drawn_as_often_as_their_chance_says() -> None:
    policy, seen = opinionated(), see(questions(1))
    draft = policy.draw(seen, group=20_000, draw=torch.Generator().manual_seed(0))
    first = torch.bincount(draft.facts[:, 0], minlength=8) / 20_000
    assert first.allclose(policy(seen)[0][0].softmax(-1), atol=0.02)
    sized = draft.tiers[draft.facts[:, 0] == int(first.argmax()), 0]
    assert (torch.bincount(sized, minlength=4) / len(sized)).allclose(policy(seen)[1][0, first.argmax()].exp(), atol=0.03)


def test_no_fact_is_written_twice_and_a_cold_draw_takes_the_best() -> None:
    policy, seen = opinionated(), see(questions(3))
    draft = policy.draw(seen, group=5, draw=torch.Generator().manual_seed(1))
    assert all(len(set(row)) == 3 for row in draft.facts.tolist())
    cold = policy.draw(seen, group=1, draw=torch.Generator().manual_seed(1), temperature=1e-4)
    assert torch.equal(cold.facts, policy(seen)[0].topk(3).indices)


def test_the_start_policy_is_blind_and_neutral() -> None:
    policy, _ = skilled(SMALL, seed=0)
    scores, tiers = policy(see(questions(4)))
    assert torch.equal(scores, torch.zeros_like(scores))
    assert tiers.exp().allclose(torch.tensor(SMALL.neutral).expand_as(tiers), atol=1e-6)


def test_names_are_alike_to_the_policy() -> None:
    """Another world with the same links gets the same scores."""
    question = questions(1)[0]
    names = sorted({name for fact in question.facts for name in (fact.subject, fact.value)})
    other = {name: f"Name{number}" for number, name in enumerate(names)}
    facts = tuple(type(one)(other[one.subject], one.relation, other[one.value], one.sentence) for one in question.facts)
    renamed = WorldQuestion(question.id, question.text, other[question.answer], question.relations, facts, question.chain)
    policy = opinionated()
    assert torch.equal(policy(see([question]))[0], policy(see([renamed]))[0])


def test_the_skill_stage_finds_chains() -> None:
    settings = SizeSettings(facts=8, quota=3, hops=(1,), width=32, layers=2, skill_batches=150, skill_batch=32, skill_pool=400)
    assert skilled(settings, seed=1)[1] > 0.9


def test_advantages_are_the_credits() -> None:
    earned = {"std": [1, 0, 1, 0], "augM": [1, 0, 0, 0], "augQ": [0, 1, 1, 1]}
    settings = SizeSettings(questions=1, group=4, updates=1)
    from memagent_training.grpo.credit import MemocrCredit

    given = {name: torch.tensor(values, dtype=torch.float64).numpy() for name, values in earned.items()}
    found = _advantages(given, MemocrCredit(weights=(1.0, 0.7, 0.3)), settings)
    wanted = memocr_advantages(earned["std"], earned["augM"], earned["augQ"]).drafting
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=1e-6)


def test_learning_changes_the_policy_and_repeats_itself() -> None:
    start, _ = skilled(SMALL, seed=0)
    weights = ARMS["full"]
    assert weights is not None
    (first, history), (again, _) = (learn(start, weights, SMALL, seed=1, eye=Eye.packaged()) for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(one, two) for one, two in zip(first.parameters(), start.parameters(), strict=True))
    assert [point["step"] for point in history.curve] == [3]
    assert {"std", "augM", "augQ", "h1_recall", "h1_precision"} <= history.curve[0].keys()
    assert 0 < history.reading_share < 1


def test_training_on_all_three_tasks_moves_evidence_into_large_type() -> None:
    """On worlds so short that a few seconds suffice; T_std alone keeps the evidence and leaves its type alone."""
    settings = SizeSettings(
        facts=12, quota=8, hops=(1,), width=32, layers=2, skill_batches=150, skill_pool=1000, pool=256, steps=80
    )
    start, _ = skilled(settings, seed=2)
    shares = {}
    for arm in ("std", "full"):
        weights = ARMS[arm]
        assert weights is not None
        shares[arm] = learn(start, weights, settings, seed=2, eye=Eye.packaged())[1].curve[-1]
    assert shares["std"]["evidence_kept"] > 0.9
    assert shares["full"]["h1_recall"] > 2 * shares["std"]["h1_recall"]


@pytest.mark.parametrize(
    ("wrong", "said"), [({"quota": 30}, "30"), ({"mode": "tall"}, "tall"), ({"questions": 5}, "`questions` 5")]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SizeSettings(**wrong)  # type: ignore[arg-type]


# -- a study and its judge ----------------------------------------------------------------------------------------------


def test_a_study_is_made_once(tmp_path: Path) -> None:
    said: list[str] = []
    study = Study(tmp_path, SMALL, say=said.append)
    pages = study.drafted("full", 1, questions=3)
    assert len(said) == 2
    assert Study(tmp_path, SMALL, say=said.append).drafted("full", 1, questions=3) == pages
    assert study.drafted("full", 1, questions=5)[:3] == pages
    assert len(said) == 2
    assert study.history("full", 1).curve[-1]["step"] == 3
    assert all(len({line.fact for line in one.lines}) == 3 for one in pages)


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    Study(tmp_path, SMALL)
    with pytest.raises(InputError, match="other settings"):
        Study(tmp_path, SizeSettings(facts=9, quota=3))


def jobs_of(study: Study, *, questions: int = 1) -> list[Job]:
    pages = {arm: study.drafted(arm, 1, questions=questions) for arm in ("none", "full")}
    return [Job(arm, 1, tokens, page) for arm, drafted in pages.items() for page in drafted for tokens in (256, 16)]


def test_pages_are_read_by_the_real_eye_once_each(tmp_path: Path) -> None:
    study = Study(tmp_path, SMALL)
    jobs, path, said = jobs_of(study), tmp_path / "readings.jsonl", list[str]()
    judged = judge(jobs, path, mode="shrink", workers=1, say=said.append)
    assert [one.key for one in judged] == [job.key for job in jobs]
    assert all(one.paid <= one.tokens for one in judged)
    assert said == ["shrink: reading 4 of 4 pictures"]
    with path.open("a", encoding="utf-8") as file:
        file.write('{"arm": "cut off')
    assert judge(jobs, path, mode="shrink", workers=1, say=said.append) == judged
    assert len(said) == 1
    assert len(list(kept(path))) == 4
    whole = {one.key: one for one in judged}
    for job in jobs:
        if set(job.page.question.chain) <= {line.fact for line in job.page.lines}:
            assert whole[(job.arm, 1, job.page.question.id, 256)].right
        else:
            assert not whole[(job.arm, 1, job.page.question.id, 256)].right


def test_checklist_25_a_page_that_fails_counts_as_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> tuple[str, int]:
        raise MemAgentError("no ink")

    monkeypatch.setattr(judging, "answer_by_ocr", broken)
    one = judging._read(jobs_of(Study(tmp_path, SMALL))[0], "shrink")
    assert (one.right, one.error) == (False, "MemAgentError: no ink")


def test_tables_compare_arms_question_by_question(tmp_path: Path) -> None:
    study = Study(tmp_path, SMALL)
    found = []
    for arm in ARMS:
        pages = study.drafted("none", 1, questions=4)
        judged = [Judged(arm, 1, one.question.id, at, arm == "full" or at == 1024, 1) for one in pages for at in (1024, 64, 16)]
        found.append(Found(arm, 1, pages, judged, None))
    tables = Tables("shrink", found, (16, 64, 1024))
    rows = {(row.method, row.metric, row.at): row.value for row in tables.rows()}
    assert rows["shrink: full - std", "accuracy ahead", 64] == 1.0
    assert rows["shrink: full - std", "accuracy ahead", 1024] == 0.0
    assert rows["shrink: std", "accuracy", 16] == 0.0
    bars = tables.bars()
    assert bars["full_beats_std_at_64"]["good"]
    assert bars["cost_at_1024"]["good"]
    assert not bars["untrained_below_both_at_1024"]["good"]
    assert bars["kept_at_16"] == 1.0
    assert Tables("shrink", found, (16, 64)).bars() == {}
    assert "| full | 100 (100-100) | 100 (100-100) | 100 (100-100) | 74.6 / 72.6 / 67.3 / 62.2 |" in accuracy_table(tables)
    assert json.dumps(tables.seeds())
