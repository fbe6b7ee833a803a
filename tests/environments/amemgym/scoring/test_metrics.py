from __future__ import annotations

from memagent.environments.amemgym.scoring.metrics import factual_recall, names_value

GIVEN_AWAY = {"commute_mode": "night_bus", "lunch_budget": "low", "pet": "a cat", "city": "Oslo"}


def test_it_is_the_share_of_given_away_values_that_the_memory_supports() -> None:
    dump = "- commute_mode: night_bus\n- pet: a cat"
    assert factual_recall(dump, GIVEN_AWAY, supports=lambda text, name, value: f"{name}: {value}" in text) == 0.5
    assert factual_recall("\n".join(GIVEN_AWAY.values()), GIVEN_AWAY) == 1.0
    assert factual_recall("", GIVEN_AWAY) == 0.0
    assert factual_recall(dump, {}) is None


def test_a_value_is_named_by_whole_words() -> None:
    assert names_value("Goes by Night-Bus, mostly.", "commute", "night_bus")
    assert not names_value("Goes by night, no busy bus.", "commute", "night bus")
    assert not names_value("a business", "commute", "bus")
    assert not names_value("anything", "commute", "--")
