"""The policy of the MemOCR study: what may be written, that model and engine agree on its chance, its supervised stage."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.memocr_experiment import SMALL, opinionated, questions

from memagent.environments.long_qa.synthetic_qa import SPLITS, WorldSettings, names, world_questions
from memagent.errors import ConfigError, InputError
from training.experiments.memocr import grammar
from training.experiments.memocr.engine import sample_drafts
from training.experiments.memocr.memory_network import read_prompts
from training.experiments.memocr.model import MASKED, DraftModel
from training.experiments.memocr.page import TIERS, Line
from training.experiments.memocr.settings import DraftShape, SftSettings
from training.experiments.memocr.sft import fresh_model, sft
from training.experiments.memocr.vocabulary import (
    DRAFT,
    END,
    ID,
    LINE,
    PAD,
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


@pytest.mark.slow
def test_a_memory_network_that_learnt_chains_of_one_and_two_follow_longer_ones_among_names_never_seen() -> None:
    shape = SftSettings(batches=120, batch=16, pool=200, drafts=0.0, learning_rate=1e-2)
    model, found = sft(replace(SMALL, hops=(1, 2), sft=shape), seed=0)
    assert found["2 hops"] > 0.9
    asked = questions(40, hops=(3, 4), split="test")
    ids = padded([prompt_ids(one) for one in asked])
    parts = read_prompts(ids, grammar.places(ids))
    best = model.memory_network(parts, model.words).argmax(-1)
    assert [tuple(row[: len(one.chain)]) for row, one in zip(best.tolist(), asked, strict=True)] == [one.chain for one in asked]
    evidence = model.memory_network.evidence(parts, model.words)
    torch.testing.assert_close(evidence.sum(1), torch.tensor([float(len(one.chain)) for one in asked]))


def test_prompts_are_taken_apart() -> None:
    asked = questions(6, hops=(1, 4))
    ids = padded([prompt_ids(one) for one in asked])
    parts = read_prompts(ids, grammar.places(ids))
    for row, one in enumerate(asked):
        assert words_of(parts.start[row].tolist()) == list(spell(one.start))
        assert int(parts.hops[row].sum()) == len(one.chain)
        assert [words_of(fact) for fact in parts.words[row, :8].tolist()] == [list(fact_words(fact)) for fact in one.facts]


def test_the_supervised_stage_leaves_the_policys_heads_alone() -> None:
    model, found = sft(SMALL, seed=0)
    start = fresh_model(SMALL, seed=0)
    assert not torch.equal(model.gather.weight, start.gather.weight)
    assert torch.equal(model.tier.weight, start.tier.weight)
    assert torch.equal(model.tier.bias, start.tier.bias)
    assert torch.equal(model.choose.weight, start.choose.weight)
    assert list(found) == ["1 hops", "2 hops", "3 hops", "4 hops"]
