"""The token policy: what may be written, that model and engine agree on its chance, what a draft earns, a whole small run."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memagent.environments.long_qa.synthetic_qa import SPLITS, WorldQuestion, WorldSettings, names, world_questions
from memagent.errors import ConfigError, InputError
from training.experiments.memocr.page import TIERS, Line, shares
from training.experiments.memocr.tokens import grammar
from training.experiments.memocr.tokens.engine import sample_drafts
from training.experiments.memocr.tokens.evaluate import draft_all, summary
from training.experiments.memocr.tokens.judged import batch_seconds
from training.experiments.memocr.tokens.lookups import read_prompts
from training.experiments.memocr.tokens.model import MASKED, DraftModel
from training.experiments.memocr.tokens.objective import DraftObjective
from training.experiments.memocr.tokens.settings import DraftShape, NetSettings, RlSettings, TokenSettings, WarmUpSettings
from training.experiments.memocr.tokens.train import build, run, start_policy
from training.experiments.memocr.tokens.vocabulary import (
    DRAFT,
    END,
    ID,
    LINE,
    PAD,
    STOP,
    TOKENS,
    fact_words,
    line_words,
    prompt_ids,
    prompt_words,
    read_draft,
    spell,
    token_ids,
    tokenizer,
    words_of,
)
from training.experiments.memocr.tokens.warm_up import fresh_model, warm_up

SMALL = TokenSettings(
    sentence_chars=60,
    draft=DraftShape(facts=8, quota=4),
    net=NetSettings(width=16, heads=2, layers=2),
    warm_up=WarmUpSettings(batches=4, batch=8, pool=32, drafts=0.5, tell=0),
    rl=RlSettings(batches=2, questions=2, group=4, pool=8, save_every=1, log_every=1, warmup_steps=0, learning_rate=1e-2),
)


def questions(count: int, *, hops: tuple[int, ...] = (1, 2, 3), facts: int = 8, split: str = "train") -> list[WorldQuestion]:
    return world_questions(count, split=split, seed=3, settings=WorldSettings(facts=facts, hops=hops, sentence_chars=60))


def opinionated(*, quota: int = 4) -> DraftModel:
    """A small model whose heads are not 0."""
    model = fresh_model(replace(SMALL, draft=DraftShape(facts=8, quota=quota)), seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        torch.nn.init.normal_(model.tier.weight)
        torch.nn.init.normal_(model.choose.weight)
    return model


def padded(rows: list[list[int]], *, extra: int = 0) -> torch.Tensor:
    width = max(map(len, rows)) + extra
    return torch.tensor([[ID[PAD]] * (width - len(row)) + row for row in rows])


# -- words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_every_name_of_a_split_is_three_known_tokens(split: str) -> None:
    for kind in ("person", "company", "town"):
        for name in names(kind, split):
            assert "".join(spell(name)) == name
            assert all(word in ID for word in spell(name))


def test_years_are_spelt_and_other_words_are_refused() -> None:
    assert spell("1907") == ("19", "0", "7")
    with pytest.raises(InputError, match="no name"):
        spell("London")


def test_the_tokenizer_gives_the_ids_of_the_prompt() -> None:
    for question in questions(5):
        text = " ".join(prompt_words(question))
        assert tokenizer()(text, add_special_tokens=False)["input_ids"] == prompt_ids(question)


def test_a_draft_is_read_back_from_its_text() -> None:
    question = questions(1)[0]
    lines = [Line("H1", 5), Line("small", 0)]
    text = " ".join(word for line in lines for word in line_words(line, question))
    assert read_draft(text) == lines


def test_a_world_with_more_facts_than_marks_is_refused() -> None:
    crowded = world_questions(
        1, split="train", seed=0, settings=WorldSettings(facts=30, people=8, companies=4, sentence_chars=60)
    )[0]
    with pytest.raises(InputError, match="30 facts"):
        prompt_words(crowded)


def test_a_draft_cannot_hold_more_lines_than_there_are_facts() -> None:
    with pytest.raises(ConfigError, match="13"):
        DraftShape(facts=12, quota=13)


# -- grammar --------------------------------------------------------------------------------------------------------------


def test_any_walk_through_the_grammar_is_a_draft() -> None:
    draw = random.Random(0)
    for question in questions(4):
        ids = prompt_ids(question)
        free = []
        while ids[-1] != ID[END]:
            may = grammar.allowed(torch.tensor([ids]), quota=4)[0, -1].nonzero()[:, 0].tolist()
            free.append(len(may))
            ids.append(draw.choice(may))
        said = words_of(ids[len(prompt_ids(question)) :])
        lines = read_draft(" ".join(said))
        assert said == [word for line in lines for word in line_words(line, question)]
        assert len({line.fact for line in lines}) == 4
        assert free == [n for line in range(4) for n in (len(TIERS), 8 - line, *[1] * (LINE - 2))] + [1]


def test_nothing_but_the_end_follows_the_last_line() -> None:
    question = questions(1)[0]
    draft = token_ids([word for fact in range(2) for word in line_words(Line("body", fact), question)])
    may = grammar.allowed(torch.tensor([[*prompt_ids(question), *draft, ID[END], ID[PAD]]]), quota=2)[0]
    for place in (-3, -2, -1):
        assert may[place].nonzero().flatten().tolist() == [ID[END]]


def test_tokens_of_prompts_are_not_restricted() -> None:
    ids = torch.tensor([prompt_ids(questions(1)[0])])
    assert grammar.allowed(ids, quota=4)[0, :-1].all()
    assert ids[0, -1] == ID[DRAFT]


# -- model and engine -----------------------------------------------------------------------------------------------------


def test_the_models_softmax_is_over_the_allowed_tokens_alone() -> None:
    model, asked = opinionated(), questions(6, hops=(1, 2, 3, 4))
    drafts = sample_drafts(model, [prompt_ids(one) for one in asked], seed=0)
    ids = padded([[*prompt_ids(one), *draft.ids] for one, draft in zip(asked, drafts, strict=True)])
    logits = model(ids).logits
    may = grammar.allowed(ids, quota=4)
    assert (logits[~may] == MASKED).all()
    assert (logits.softmax(-1)[~may] == 0).all()
    forced = may.sum(-1) == 1
    assert forced[:, -2].all()
    assert torch.equal(logits.log_softmax(-1).amax(-1)[forced], torch.zeros(int(forced.sum())))


def test_the_engines_log_probabilities_are_the_models() -> None:
    model, asked = opinionated(), questions(5, hops=(1, 2, 3, 4))
    asked = [one for one in asked for _ in range(3)]
    drafts = sample_drafts(model, [prompt_ids(one) for one in asked], seed=4)
    ids = padded([[*prompt_ids(one), *draft.ids] for one, draft in zip(asked, drafts, strict=True)], extra=2)
    kept = 4 * LINE + 1
    logits = model(ids, logits_to_keep=kept + 1).logits[:, :-1]
    found = logits.log_softmax(-1).gather(2, ids[:, -kept:, None])[..., 0]
    torch.testing.assert_close(found, torch.tensor([draft.logprobs for draft in drafts]), atol=1e-5, rtol=0)
    assert len({draft.ids for draft in drafts[:3]}) > 1


def test_a_prompt_alone_and_among_longer_ones_gets_the_same_logits() -> None:
    model, asked = opinionated(), questions(8, hops=(1, 4))
    short, long = (next(one for one in asked if len(one.chain) == hops) for hops in (1, 4))
    together = model(padded([prompt_ids(short), prompt_ids(long)]), logits_to_keep=1).logits[0]
    torch.testing.assert_close(model(padded([prompt_ids(short)]), logits_to_keep=1).logits[0], together, atol=1e-5, rtol=0)


def test_what_comes_later_changes_nothing_before_it() -> None:
    model, question = opinionated(), questions(1)[0]
    both = [
        token_ids([word for fact, tier in enumerate(tiers) for word in line_words(Line(tier, fact), question)])
        for tiers in (("H1", "body", "small"), ("H1", "body", "bold"))
    ]
    before, after = model(padded([[*prompt_ids(question), *draft] for draft in both])).logits
    place = len(prompt_ids(question)) + 2 * LINE
    torch.testing.assert_close(before[:place], after[:place], atol=1e-5, rtol=0)
    assert not torch.allclose(before[place], after[place], atol=1e-3)


def test_an_untrained_policy_is_even() -> None:
    model = fresh_model(SMALL, seed=0)
    draft = sample_drafts(model, [prompt_ids(questions(1)[0])], seed=0)[0]
    assert draft.logprobs is not None
    shares_of = dict(zip(TIERS, SMALL.neutral, strict=True))
    for line in range(4):
        assert draft.logprobs[LINE * line] == pytest.approx(
            torch.tensor(shares_of[TOKENS[draft.ids[LINE * line]]]).log().item(), abs=1e-5
        )
        assert draft.logprobs[LINE * line + 1] == pytest.approx(-torch.tensor(8.0 - line).log().item(), abs=1e-5)


def test_transformers_own_generate_writes_a_draft_too() -> None:
    question = questions(1)[0]
    ids = torch.tensor([prompt_ids(question)])
    with torch.random.fork_rng(devices=[]):
        said = opinionated().generate(ids, do_sample=True, use_cache=False, max_new_tokens=100)[0, ids.shape[1] :].tolist()
    assert said[-1] == ID[END]
    lines = read_draft(" ".join(words_of(said)))
    assert words_of(said) == [word for line in lines for word in line_words(line, question)]


def test_the_same_seed_gives_the_same_drafts() -> None:
    model, prompts = opinionated(), [prompt_ids(one) for one in questions(6)]
    assert sample_drafts(model, prompts, seed=1) == sample_drafts(model, prompts, seed=1)
    assert sample_drafts(model, prompts, seed=1) != sample_drafts(model, prompts, seed=2)


def test_a_saved_policy_says_the_same(tmp_path: Path) -> None:
    model, prompts = opinionated(), [prompt_ids(one) for one in questions(2)]
    model.save_pretrained(tmp_path)
    assert sample_drafts(DraftModel.from_pretrained(tmp_path, dtype="float32"), prompts, seed=1) == sample_drafts(
        model, prompts, seed=1
    )


def test_lookups_that_learnt_chains_of_one_and_two_follow_longer_ones_among_names_never_seen() -> None:
    shape = WarmUpSettings(batches=120, batch=16, pool=200, drafts=0.0, learning_rate=1e-2, tell=0)
    model, found = warm_up(replace(SMALL, hops=(1, 2), warm_up=shape), seed=0)
    assert found["2 hops"] > 0.9
    asked = questions(40, hops=(3, 4), split="test")
    ids = padded([prompt_ids(one) for one in asked])
    parts = read_prompts(ids, grammar.places(ids))
    best = model.lookups(parts, model.words).argmax(-1)
    assert [tuple(row[: len(one.chain)]) for row, one in zip(best.tolist(), asked, strict=True)] == [one.chain for one in asked]
    evidence = model.lookups.evidence(parts, model.words)
    torch.testing.assert_close(evidence.sum(1), torch.tensor([float(len(one.chain)) for one in asked]))


def test_prompts_are_taken_apart() -> None:
    asked = questions(6, hops=(1, 4))
    ids = padded([prompt_ids(one) for one in asked])
    parts = read_prompts(ids, grammar.places(ids))
    for row, one in enumerate(asked):
        assert words_of(parts.start[row].tolist()) == list(spell(one.start))
        assert int(parts.hops[row].sum()) == len(one.chain)
        assert [words_of(fact) for fact in parts.words[row, :8].tolist()] == [list(fact_words(fact)) for fact in one.facts]


# -- reading --------------------------------------------------------------------------------------------------------------


def test_shares_count_evidence_in_large_type() -> None:
    question = questions(1, hops=(2,))[0]
    first, second = question.chain
    other = next(fact for fact in range(8) if fact not in question.chain)
    found = shares(question, [Line("H1", first), Line("H1", other), Line("small", second), Line("H1", (other + 1) % 8)][:3])
    assert (found.kept, found.large, found.pure, found.lines_large) == (1.0, 0.5, 0.5, 2 / 3)
    assert shares(question, [Line("body", first)]).pure is None


# -- runs -----------------------------------------------------------------------------------------------------------------


def test_warming_up_leaves_the_policys_heads_alone() -> None:
    model, found = warm_up(SMALL, seed=0)
    start = fresh_model(SMALL, seed=0)
    assert not torch.equal(model.gather.weight, start.gather.weight)
    assert torch.equal(model.tier.weight, start.tier.weight)
    assert torch.equal(model.tier.bias, start.tier.bias)
    assert torch.equal(model.choose.weight, start.choose.weight)
    assert list(found) == ["1 hops", "2 hops", "3 hops", "4 hops"]


def test_the_trainer_finds_the_engines_probabilities_and_trains(tmp_path: Path) -> None:
    start = start_policy(SMALL, tmp_path / "start", seed=0)
    before = {name: weight.clone() for name, weight in start.state_dict().items()}
    trainer = build(SMALL, start, tmp_path / "run", arm="full", seed=0, quiet=True)
    off = []
    to_batch = trainer._to_batch

    def watched(rows, share):  # type: ignore[no-untyped-def]
        batch = to_batch(rows, share)
        if "old_per_token_logps" in batch:
            off.append((batch["old_per_token_logps"] - batch["sampling_per_token_logps"]).abs().max().item())
        return batch

    trainer._to_batch = watched  # type: ignore[method-assign]
    trainer.train()
    assert len(off) == 2
    assert max(off) < 1e-4
    assert {len(one.rewards) for one in trainer.rollouts} == {3}
    trained = trainer.accelerator.unwrap_model(trainer.model)
    assert any(not torch.equal(before[name], weight) for name, weight in trained.state_dict().items())
    assert torch.equal(trainer.ref_model.gather.weight, before["gather.weight"])


def test_an_arm_is_run_once_and_leaves_its_pages(tmp_path: Path) -> None:
    first = run(SMALL, tmp_path, arm="std", seed=1, quiet=True, each=5)
    pages = [json.loads(line) for line in (tmp_path / "seed-1" / "std" / "pages.jsonl").read_text("utf-8").splitlines()]
    assert [one["hops"] for one in pages] == [hops for hops in (1, 2, 3, 4) for _ in range(5)]
    assert all(len(one["page"]) == 4 and one["split"] == "test" for one in pages)
    assert first["test"]["longer"]["questions"] == 5
    (tmp_path / "seed-1" / "start" / "warm_up.json").unlink()
    again = run(SMALL, tmp_path, arm="std", seed=1, quiet=True, each=5)
    assert again == json.loads(json.dumps(first))
    assert not (tmp_path / "seed-1" / "start" / "warm_up.json").exists()
    with pytest.raises(InputError, match="other settings or questions"):
        run(SMALL, tmp_path, arm="std", seed=1, quiet=True, each=6)
    with pytest.raises(InputError, match="other settings or questions"):
        run(replace(SMALL, sentence_chars=61), tmp_path, arm="std", seed=1, quiet=True, each=5)


def test_the_time_of_a_batch_is_taken_from_the_log(tmp_path: Path) -> None:
    line = {"step_time": 2.0, "time/rollout": 1.0, "time/render_and_read": 0.25, "time/score": 1.5}
    log = tmp_path / "metrics.jsonl"
    log.write_text(json.dumps({"train_runtime": 9.0}) + "\n", "utf-8")
    assert batch_seconds(tmp_path, updates=2) is None
    log.write_text(f"{json.dumps(line)}\n" * 2, "utf-8")
    assert batch_seconds(tmp_path, updates=2) == {"sampling": 0.75, "render_and_read": 0.25, "scoring": 1.5, "update": 1.5}


def test_the_summary_tells_known_chain_lengths_from_longer_ones() -> None:
    asked = questions(40, hops=(1, 2, 3, 4), split="test")
    told = summary(draft_all(opinionated(), asked, seed=0), seen_hops=(1, 2, 3), mode="shrink")
    assert told["seen"]["questions"] + told["longer"]["questions"] == 40
    assert told["longer"] == told["4 hops"]


def test_a_draft_of_too_few_lines_is_refused() -> None:
    objective = DraftObjective(questions(1), quota=4, mode="shrink")
    episode = objective.episode(objective.tasks()[0], seed=0)
    next(episode)
    from memagent.models.base import Reply
    from memagent.types import Usage

    with pytest.raises(InputError, match="0 lines"):
        episode.send(Reply(text=STOP, usage=Usage()))
    assert fact_words(questions(1)[0].facts[0])
