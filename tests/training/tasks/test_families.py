"""The laptop task family: rows, splits, checkers, chance, verification prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.tasks import TASKS, Arithmetic, CharacterFamily, Cipher, FileTasks, Strings

FAMILIES: list[CharacterFamily] = [
    Cipher(),
    Cipher(shared=True, n_ops=9, min_length=2, max_length=3),
    Arithmetic(),
    Arithmetic(modulus=36, max_operands=4, operators="+-*", rederive=False),
    Strings(),
    Strings(ops=["first", "last"], letters=2, max_length=5),
    Strings(ops=["copy", "reverse"], min_length=3, max_length=6, rederive=False),
]


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_rows_hold_to_what_the_family_says(family: CharacterFamily) -> None:
    rows = family.tasks(200, seed=1)
    assert rows == family.tasks(200, seed=1)
    assert rows != family.tasks(200, seed=2)
    assert family.alphabet == "".join(sorted(set(family.alphabet)))
    by_id: dict[object, object] = {}
    for row in rows:
        prompt, answer = str(row["prompt"]), str(row["answer"])
        assert set(row) == {"id", "prompt", "answer", "skill", "difficulty"}
        assert by_id.setdefault(row["id"], prompt) == prompt
        assert prompt.endswith("=")
        assert 1 <= len(answer) <= family.max_answer
        asked = family.verification(row, answer)
        assert len(asked) <= family.max_prompt
        assert set(prompt + answer + asked + "YN") <= set(family.alphabet)
        right = family.check(row, answer)
        assert (right.answer, right.correct, right.valid) == (answer, True, True)
    assert max(len(family.verification(row, "x" * family.max_answer)) for row in rows) == family.max_prompt


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_train_and_test_share_no_prompt_whatever_the_seeds(family: CharacterFamily) -> None:
    train = {row["prompt"] for seed in range(3) for row in family.tasks(150, seed=seed)}
    test = {row["prompt"] for seed in range(3) for row in family.tasks(60, seed=seed, split="test")}
    assert train
    assert test
    assert not train & test


def test_the_split_has_the_share_asked_for() -> None:
    family = Cipher(min_length=6, max_length=6, test_share=0.3)
    rng = np.random.default_rng(0)
    places = [family.split_of(family.draw(rng).prompt) for _ in range(4000)]
    assert places.count("test") / 4000 == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_chance_is_what_a_random_policy_gets(family: CharacterFamily) -> None:
    rng = np.random.default_rng(3)
    easy = [row for row in family.tasks(400, seed=0) if family.chance(row) > 0.02] or family.tasks(5, seed=0)
    row = easy[0]
    chance, length, draws = family.chance(row), len(str(row["answer"])), 20_000
    letters = rng.integers(len(family.answers), size=(draws, length))
    right = sum(family.check(row, "".join(family.answers[letter] for letter in reply)).correct for reply in letters)
    assert 0 < chance <= 1
    assert right / draws == pytest.approx(chance, abs=4 * np.sqrt(chance / draws) + 1e-9)


def test_chance_follows_difficulty() -> None:
    assert [Cipher().chance({"answer": "1" * length}) for length in (1, 2, 3)] == pytest.approx([0.1, 0.01, 0.001])
    assert Arithmetic(modulus=13).chance({"answer": "c"}) == pytest.approx(1 / 13)
    assert Strings(ops=["copy"], letters=4).chance({"answer": "ab"}) == pytest.approx(1 / 16)
    assert Strings(ops=["count"], letters=4).chance({"answer": "2"}) == pytest.approx(1 / 14)


# -- members ----------------------------------------------------------------------------------------------------------


def test_cipher_maps_every_digit_by_its_op() -> None:
    family = Cipher(n_ops=26, key=5)
    assert len(set(family.ops.values())) == 26
    assert all(sorted(images) == list("0123456789") for images in family.ops.values())
    for row in family.tasks(50, seed=0):
        prompt = str(row["prompt"])
        digits = prompt[1:-1]
        assert row["answer"] == "".join(family.ops[prompt[0]][int(digit)] for digit in digits)
        assert (row["skill"], row["difficulty"]) == (prompt[0], len(digits))
    assert family.ops != Cipher(n_ops=26, key=6).ops
    assert family.ops == Cipher(n_ops=26, key=5, max_length=9).ops


def test_shared_ciphers_are_powers_of_one_permutation() -> None:
    ops = list(Cipher(n_ops=9, shared=True).ops.values())
    assert len(set(ops)) == 9
    for lower, upper in pairwise(ops):
        assert upper == "".join(ops[0][int(image)] for image in lower)
    assert all(images[digit] != str(digit) for images in ops for digit in range(10))


def test_arithmetic_agrees_with_pythons_own() -> None:
    family = Arithmetic(modulus=36, max_operands=4, operators="+*-")
    for row in family.tasks(300, seed=0):
        prompt = str(row["prompt"])
        (operator,) = set(prompt) & set("+-*")
        numbers = [int(one, 36) for one in prompt[:-1].split(operator)]
        assert int(str(row["answer"]), 36) == eval(operator.join(map(str, numbers))) % 36
        assert row["difficulty"] == len(numbers)
        assert row["skill"] == {"+": "add", "-": "subtract", "*": "multiply"}[operator]
    assert family.check({"answer": "c"}, "c").correct
    (worked,) = [row for row in Arithmetic(test_share=0).tasks(900, seed=0) if row["prompt"] == "9+7="][:1]
    assert worked["answer"] == "3"


@pytest.mark.parametrize(
    ("op", "prompt", "answer"),
    [
        ("copy", "Cabca=", "abca"),
        ("reverse", "Rabca=", "acba"),
        ("sort", "Sabca=", "aabc"),
        ("first", "Fbaca=", "b"),
        ("last", "Lbacd=", "d"),
        ("count", "Kabca=", "2"),
    ],
)
def test_string_ops_do_what_they_say(op: str, prompt: str, answer: str) -> None:
    rows = Strings(ops=[op], min_length=4, max_length=4, test_share=0).tasks(3000, seed=0)
    assert {row["answer"] for row in rows if row["prompt"] == prompt} == {answer}
    assert {(row["skill"], row["difficulty"]) for row in rows} == {(op, 4)}


@given(st.text(max_size=8))
def test_any_reply_can_be_checked(text: str) -> None:
    family = Cipher(max_length=3)
    found = family.check({"answer": "407"}, text)
    assert found.correct == (text.strip() == "407")
    assert found.valid == (found.answer is not None)
    assert found.valid or not found.correct
    assert family.verdict(text) in (None, "Yes", "No")


def test_malformed_replies_have_no_answer() -> None:
    family = Cipher(max_length=3)
    for text in ("", "4075", "4a7", "407=", "Y"):
        found = family.check({"answer": "407"}, text)
        assert (found.answer, found.correct, found.valid) == (None, False, False)
    assert family.check({"answer": "407"}, "40") == family.check({"answer": "407"}, " 40 ")
    assert family.check({"answer": "407"}, "40").valid


# -- verification -----------------------------------------------------------------------------------------------------


def test_a_verdict_needs_the_own_answer_before_it() -> None:
    family = Arithmetic(modulus=13)
    assert family.verification({"prompt": "9+7=", "answer": "3"}, "b") == "b?9+7="
    assert [family.verdict(text) for text in ("3Y", "bN", " cY ")] == ["Yes", "No", "Yes"]
    assert [family.verdict(text) for text in ("Y", "N", "33Y", "dY", "3", "", "3y", "Y3")] == [None] * 8
    assert family.max_verdict == 2


def test_without_rederivation_a_verdict_stands_alone() -> None:
    family = Arithmetic(modulus=13, rederive=False)
    assert [family.verdict(text) for text in ("Y", "N", "3Y", "", "YN")] == ["Yes", "No", None, None, None]
    assert family.max_verdict == 1
    assert family.alphabet == Arithmetic(modulus=13).alphabet


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_the_verification_prompt_holds_the_judged_answer_and_no_other(seed: int) -> None:
    family = Cipher(n_ops=4, min_length=4, max_length=4)
    (row,) = family.tasks(1, seed=seed)
    without = family.verification({**row, "answer": "other"}, "9999")
    assert without == family.verification(row, "9999") == f"9999?{row['prompt']}"


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cipher(n_ops=0),
        lambda: Cipher(n_ops=27),
        lambda: Cipher(n_ops=10, shared=True),
        lambda: Cipher(min_length=0),
        lambda: Cipher(min_length=3, max_length=2),
        lambda: Cipher(key=-1),
        lambda: Cipher(test_share=1.0),
        lambda: Cipher(test_share=float("nan")),
        lambda: Arithmetic(modulus=1),
        lambda: Arithmetic(modulus=37),
        lambda: Arithmetic(min_operands=1),
        lambda: Arithmetic(min_operands=3, max_operands=2),
        lambda: Arithmetic(operators=""),
        lambda: Arithmetic(operators="++"),
        lambda: Arithmetic(operators="/"),
        lambda: Strings(ops=[]),
        lambda: Strings(ops=["copy", "copy"]),
        lambda: Strings(ops=["shuffle"]),
        lambda: Strings(letters=1),
        lambda: Strings(max_length=10),
        lambda: Strings(ops=["copy"], max_length=33),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], CharacterFamily]) -> None:
    with pytest.raises(ConfigError):
        make()


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(InputError, match="n=-1"):
        Cipher().tasks(-1, seed=0)
    with pytest.raises(InputError, match="seed=-1"):
        Cipher().tasks(1, seed=-1)
    with pytest.raises(InputError, match="`valid`"):
        Cipher().tasks(1, seed=0, split="valid")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none in split `test`"):
        Cipher(test_share=0).tasks(1, seed=0, split="test")
    assert Cipher().tasks(0, seed=0) == []


def test_every_member_is_in_the_table() -> None:
    assert (TASKS["cipher"], TASKS["arithmetic"], TASKS["strings"]) == (Cipher, Arithmetic, Strings)
    assert all(cls.name == name for name, cls in TASKS.items())


def test_a_text_of_a_file_may_hold_any_line_break_of_unicode(tmp_path: Path) -> None:
    rows = [{"id": str(at), "prompt": f"1 {mark} 2", "answer": "3"} for at, mark in enumerate("\u2028\u2029\x85\x0b\x0c\x1c")]
    for end, line_break in (("", "\n"), ("\n", "\n"), ("\r\n", "\r\n")):
        path = tmp_path / "tasks.jsonl"
        path.write_bytes((line_break.join(json.dumps(row, ensure_ascii=False) for row in rows) + end).encode())
        assert FileTasks(path=str(path)).tasks(9, seed=0) == rows
