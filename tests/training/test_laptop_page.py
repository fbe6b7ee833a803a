"""The laptop page: its geometry is the layout's own, its answerer needs every word, its eye rises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memagent.environments.long_qa.synthetic_qa import Fact, WorldQuestion, WorldSettings, world_questions
from memagent_renderers.fixed_size import fixed_size_page
from training.experiments.memocr.answerer import answer, statements
from training.experiments.memocr.eye import CAP, Eye, Seen, drafts, tables
from training.experiments.memocr.page import TIERS, TYPES, Geometry, Line, markdown, picture, width_em, words_shown
from training.experiments.memocr.rewards import Pages, Sheet, rewards
from training.experiments.memocr.settings import SizeSettings

SETTINGS = SizeSettings()


def questions(count: int, *, seed: int = 5, hops: tuple[int, ...] = (1, 2, 3)) -> list[WorldQuestion]:
    return world_questions(count, split="dev", seed=seed, settings=SETTINGS.worlds(hops))


def pages_of(question: WorldQuestion, lines: list[Line], *, mode: str = "shrink") -> Pages:
    facts = np.array([[line.fact for line in lines]])
    tiers = np.array([[TIERS.index(line.tier) for line in lines]])
    return Pages([Sheet.of(question)], facts, tiers, mode=mode, eye=Eye.packaged())  # type: ignore[arg-type]


def test_the_height_of_a_page_is_that_of_the_layout() -> None:
    for question, lines in drafts(questions(12), lines=SETTINGS.quota, seed=1):
        page = fixed_size_page(markdown(question, lines))
        facts = np.array([line.fact for line in lines])
        tiers = np.array([TIERS.index(line.tier) for line in lines])
        assert page.width == Geometry.width
        assert page.height == float(Geometry(question.facts).height(facts, tiers))


def test_type_on_the_picture_has_the_size_that_the_rewards_assume() -> None:
    question, lines = next(drafts(questions(1), lines=SETTINGS.quota, seed=2))
    shown = picture(markdown(question, lines), 64, "shrink")
    height = fixed_size_page(markdown(question, lines)).height
    factor = (shown.width * shown.height / (Geometry.width * height)) ** 0.5
    for line in lines:
        assert shown.sizes[TYPES[line.tier].tier] == pytest.approx(TYPES[line.tier].px * factor)


def test_tiers_fall_in_size() -> None:
    sizes = [TYPES[tier].px for tier in TIERS]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 32.0


def test_the_page_stands_in_the_order_of_the_world() -> None:
    question = questions(1)[0]
    text = markdown(question, [Line("H1", 7), Line("small", 2), Line("bold", 4), Line("body", 3)])
    said = [question.facts[fact].sentence for fact in (2, 3, 4, 7)]
    assert text == f"###### {said[0]}\n\n{said[1]}\n\n**{said[2]}**\n\n# {said[3]}"


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
    fact = Fact("Bakabert", "works at", "Dofecorp", "Bakabert, as was usual at the time, works at Dofecorp.")
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


def test_the_packaged_eye_rises_and_is_sure_of_large_type() -> None:
    eye = Eye.packaged()
    sizes = np.arange(1.0, 12.0, 0.1)
    for tier in range(len(TIERS)):
        shares = eye.chances(sizes, np.full(len(sizes), tier))
        assert (np.diff(shares) >= 0).all()
        assert shares[0] == 0.0
        assert (shares[sizes >= CAP] == 1.0).all()
    assert eye.facts >= 3000
    assert 0.5 < eye.fitted <= 1.0


def test_an_eye_is_kept_in_a_file(tmp_path: Path) -> None:
    Eye.packaged().save(tmp_path / "eye.json")
    assert Eye.load(tmp_path / "eye.json") == Eye.packaged()


def test_tables_are_made_of_what_was_seen() -> None:
    seen = [Seen("shrink", 64, 5.0, True, False), Seen("shrink", 64, 6.0, True, True), Seen("shrink", 64, 6.0, False, True)]
    seen += [Seen("fit", 16, 7.5, False, True), Seen("fit", 16, 7.5, False, False), Seen("fit", 64, 7.5, False, False)]
    eye = tables(seen, {"16": 100.0})
    assert (eye.bold, eye.regular, eye.fitted) == (((5.0, 0.0), (6.0, 1.0)), ((6.0, 1.0),), 0.5)
    assert eye.room(16) == 100.0
    assert eye.room(1024) == float("inf")


def test_a_fit_page_holds_what_the_eye_assumes() -> None:
    """In the order of importance, as many whole facts as the measured room, give or take one."""
    for question, lines in drafts(questions(8), lines=SETTINGS.quota, seed=3):
        for tokens in (16, 32):
            words = words_shown(markdown(question, lines), tokens)
            whole = 0
            for line in sorted(lines, key=lambda one: (TIERS.index(one.tier), one.fact)):
                words -= len(question.facts[line.fact].sentence.split())
                whole += words >= 0
            assumed = int((pages_of(question, lines, mode="fit").chances(tokens) > 0).sum())
            assert abs(whole - assumed) <= 1


def test_the_chance_of_an_answer_is_how_often_it_is_read() -> None:
    question = questions(1, hops=(2,))[0]
    page = pages_of(question, [Line("H1" if fact in question.chain else "small", fact) for fact in range(16)])
    tokens = next(one for one in range(8, 100) if 0.2 < page.chance(one)[0] < 0.9)
    draw = np.random.default_rng(0)
    many = pages_of(question, [Line("H1" if fact in question.chain else "small", fact) for fact in range(16)])
    counted = np.mean([many.answered(draw.random((1, 16)) < many.chances(tokens))[0] for _ in range(3000)])
    assert counted == pytest.approx(page.chance(tokens)[0], abs=0.04)


def test_a_page_without_the_evidence_never_answers() -> None:
    question = questions(1, hops=(2,))[0]
    page = pages_of(question, [Line("H1", fact) for fact in range(24) if fact != question.chain[0]][:16])
    assert page.chance(1024)[0] == 0.0


def test_rewards_follow_the_budgets() -> None:
    """Evidence in H1 and the rest small: read at 512 and mostly at 32; all in body: nothing at 32."""
    asked = questions(40, hops=(1,))
    draw = np.random.default_rng(0)
    for tier, least, most in (("H1", 0.8, 1.0), ("body", 0.0, 0.0)):
        earned = []
        for question in asked:
            others = [fact for fact in range(24) if fact not in question.chain][:15]
            lines = [Line(tier, question.chain[0]), *(Line("small" if tier == "H1" else "body", fact) for fact in others)]
            earned.append(rewards(pages_of(question, lines), budget=512, draw=draw))
        assert np.mean([one["std"][0] for one in earned]) > 0.95
        assert least <= np.mean([one["augM"][0] for one in earned]) <= most


def test_shares_tell_recall_from_precision() -> None:
    question = questions(1, hops=(2,))[0]
    first, second = question.chain
    others = [fact for fact in range(24) if fact not in question.chain][:3]
    lines = [Line("H1", first), Line("body", second), *(Line("H1", fact) for fact in others)]
    assert pages_of(question, lines).shares() == {
        "evidence_kept": 1.0,
        "h1_recall": 0.5,
        "h1_precision": 0.25,
        "h1_lines": 4.0,
    }


def test_width_is_in_em_of_the_tiers_face() -> None:
    assert width_em("Ada lives", "H1") == width_em("Ada lives", "bold") > width_em("Ada lives", "body") > 3


def test_worlds_of_the_study_are_as_the_notes_ask() -> None:
    """Body type takes two lines, small one, H1 three: what makes layout matter at 64 and at 16 tokens."""
    shape = WorldSettings(facts=24, sentence_chars=105)
    heights = np.concatenate([Geometry(one.facts).heights for one in world_questions(10, split="dev", seed=0, settings=shape)])
    lines = heights / np.array([40, 20, 20, 12])
    assert np.median(lines, axis=0).tolist() == [3, 2, 2, 1]
