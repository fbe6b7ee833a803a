"""The page of the study, the script that answers from it, and what a draft earns."""

from __future__ import annotations

from statistics import fmean, median

import pytest
from helpers.memocr_experiment import questions as small_questions

from memagent.environments.long_qa.synthetic_qa import WorldFact, WorldQuestion, world_questions
from memagent.errors import InputError
from memagent.models.base import Reply
from memagent.types import Usage
from memagent_renderers.fixed_size import fixed_size_page
from training.experiments.memocr.objective import DraftObjective, simulated_rewards
from training.experiments.memocr.page import MODES, TIERS, Line, Mode, laid_out, markdown, picture, shares
from training.experiments.memocr.rule_answerer import answer, statements
from training.experiments.memocr.settings import StudySettings
from training.experiments.memocr.vocabulary import STOP


def questions(count: int, *, seed: int = 5, hops: tuple[int, ...] = (1, 2, 3)) -> list[WorldQuestion]:
    return world_questions(count, split="dev", seed=seed, settings=StudySettings().worlds(hops))


def draft(question: WorldQuestion, tier: str, other: str) -> list[Line]:
    """16 lines: the evidence in one tier, all else in another."""
    others = [fact for fact in range(24) if fact not in question.chain][: 16 - len(question.chain)]
    return [*(Line(tier, fact) for fact in question.chain), *(Line(other, fact) for fact in others)]


@pytest.mark.parametrize("mode", MODES)
def test_a_page_that_is_not_drawn_holds_the_lines_of_the_drawn_one(mode: Mode) -> None:
    text = markdown(question := questions(1)[0], draft(question, "H1", "small"))
    [flat] = laid_out(text, [64], mode)
    shown = picture(text, 64, mode)
    assert (flat.width, flat.height) == (shown.width, shown.height)
    assert flat.lines == shown.lines
    assert flat.lines


def test_the_page_is_in_the_order_of_the_world() -> None:
    question = questions(1)[0]
    text = markdown(question, [Line("H1", 7), Line("small", 2), Line("bold", 4), Line("body", 3)])
    said = [question.facts[fact].sentence for fact in (2, 3, 4, 7)]
    assert text == f"###### {said[0]}\n\n{said[1]}\n\n**{said[2]}**\n\n# {said[3]}"


def test_body_type_takes_two_lines_small_one_and_h1_three() -> None:
    """What makes layout matter at 64 and at 16 tokens."""
    found = {
        tier: median(
            len(fixed_size_page(markdown(one, [Line(tier, fact)]), profile="default").lines)
            for one in questions(4)
            for fact in range(24)
        )
        for tier in TIERS
    }
    assert found == {"H1": 3, "bold": 2, "body": 2, "small": 1}


def test_the_answerer_finds_every_statement_of_a_page_that_was_read_whole() -> None:
    for question in questions(20):
        text = " ".join(fact.sentence for fact in question.facts)
        assert statements(text) == [(one.subject, one.relation, one.value) for one in question.facts]
        assert answer(text, question) == question.answer


def test_a_hop_that_was_not_read_leaves_no_answer() -> None:
    for question in questions(20):
        for place in question.chain:
            told = [fact.sentence for at, fact in enumerate(question.facts) if at != place]
            assert answer(" ".join(told), question) is None


@pytest.mark.parametrize("lost", ["subject", "relation", "value"])
def test_a_statement_with_a_word_lost_is_none(lost: str) -> None:
    fact = WorldFact("Bakabert", "works at", "Dofecorp", "Bakabert, as was usual at the time, works at Dofecorp.")
    assert statements(fact.sentence) == [("Bakabert", "works at", "Dofecorp")]
    assert statements(fact.sentence.replace({"relation": "at D"}.get(lost, getattr(fact, lost)), "xx")) == []


def test_glued_words_and_lost_capitals_are_still_read() -> None:
    assert statements("bakabert,as was usual,worksat dofecorp.") == [("Bakabert", "works at", "Dofecorp")]


def test_a_year_is_no_company_and_a_company_no_year() -> None:
    assert statements("Bakabert works at 1901. Dofecorp was founded in Bakaton.") == []


def test_a_lost_subject_is_not_replaced_by_another_facts_value() -> None:
    assert statements("Bakabert works at Dofecorp. xx, so it is said, lives in Gukaton.") == [
        ("Bakabert", "works at", "Dofecorp")
    ]


@pytest.mark.parametrize(("tier", "other", "least", "most"), [("H1", "small", 0.8, 1.0), ("body", "body", 0.0, 0.0)])
def test_evidence_in_large_type_is_read_at_a_sixteenth_of_the_budget_and_plain_type_is_not(
    tier: str, other: str, least: float, most: float
) -> None:
    earned = [
        simulated_rewards(one, draft(one, tier, other), "shrink", seed=at) for at, one in enumerate(questions(40, hops=(1,)))
    ]
    assert fmean(one["std"] for one in earned) > 0.85
    assert least <= fmean(one["augM"] for one in earned) <= most


def test_a_page_without_the_evidence_never_answers() -> None:
    for at, question in enumerate(questions(10, hops=(2,))):
        lines = [Line("H1", fact) for fact in range(24) if fact != question.chain[0]][:16]
        assert simulated_rewards(question, lines, "shrink", seed=at)["std"] == 0.0


def test_the_same_seed_reads_a_page_the_same_way() -> None:
    question = questions(1, hops=(2,))[0]
    lines = draft(question, "bold", "body")
    assert simulated_rewards(question, lines, "fit", seed=3) == simulated_rewards(question, lines, "fit", seed=3)


def test_shares_count_evidence_in_large_type() -> None:
    question = small_questions(1, hops=(2,))[0]
    first, second = question.chain
    other = next(fact for fact in range(8) if fact not in question.chain)
    found = shares(question, [Line("H1", first), Line("H1", other), Line("small", second)])
    assert (found.kept, found.large, found.pure, found.lines_large) == (1.0, 0.5, 0.5, 2 / 3)
    assert shares(question, [Line("body", first)]).pure is None


def test_a_draft_of_too_few_lines_is_refused() -> None:
    objective = DraftObjective(small_questions(1), quota=4, mode="shrink")
    episode = objective.episode(objective.tasks()[0], seed=0)
    next(episode)
    with pytest.raises(InputError, match="0 lines"):
        episode.send(Reply(text=STOP, usage=Usage()))
