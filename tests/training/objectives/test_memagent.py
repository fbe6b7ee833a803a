"""MemAgent's objective (arXiv 2507.02259): chunks, a memory that is rewritten, an answer, and what it earns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from memagent.errors import ConfigError, InputError
from memagent.memory.memocr.loops import NO_MEMORY
from memagent.memory.memocr.rewriting import answering_prompt, rewrite, rewriting_prompt
from memagent.models.base import Reply, Request
from memagent.text.token_chunks import TokenCutter

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from helpers.episodes import played

from memagent_training.objectives.base import EpisodeResult, PolicyRequest
from memagent_training.objectives.memagent import MemagentSettings, TextMemory, golds_found
from memagent_training.recipe import load_recipe

TASK = {"id": "q", "question": "Where does Ada live?", "context": "Ada lives in Lyon. " * 10, "answers": ["Lyon"]}


_PART = re.compile(r"<(problem|article|memory)>\n(.*?)\n</\1>", re.DOTALL)


class Letters:
    """One token a character."""

    def encode(self, text: str) -> list[int]:
        return [ord(one) for one in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def attempt(
    say: Callable[[PolicyRequest], str] = lambda ask: f"memory\\boxed{{{ask.role}}}", *, settings: Any = None, **task: Any
) -> tuple[list[PolicyRequest], EpisodeResult]:
    """What was asked, and how it ended."""
    return played(TextMemory(TokenCutter(Letters()), settings=settings).episode(TASK | task, seed=3), say)


def parts(ask: Request) -> dict[str, str]:
    """What stands in the tags of its one message."""
    (message,) = ask.messages
    return dict(_PART.findall(message.text))


def numbered(tokens: int) -> str:
    """A text without blanks in which no two places look alike."""
    return "".join(f"{at:06d}" for at in range(tokens // 6 + 1))[:tokens]


@pytest.mark.parametrize(("tokens", "turns"), [(0, 0), (1, 1), (5000, 1), (5001, 2), (28_000, 6)])
def test_chunks_of_5000_tokens_without_overlap(tokens: int, turns: int) -> None:
    text = numbered(tokens)
    asked, _ = attempt(context=text)
    articles = [parts(one)["article"] for one in asked if one.role == "draft"]
    assert len(articles) == turns
    assert "".join(articles) == text
    assert all(len(one) == 5000 for one in articles[:-1])


def test_a_question_of_1024_tokens() -> None:
    asked, _ = attempt(question="x" * 1024 + "y" * 10)
    assert {parts(one)["problem"] for one in asked} == {"x" * 1024}


def test_memory_and_output_of_1024_tokens() -> None:
    asked, _ = attempt()
    assert [(one.role, one.max_tokens) for one in asked] == [("draft", 1024), ("answer", 1024)]


def test_all_of_it_inside_a_window_of_8k() -> None:
    asked, _ = attempt(lambda _: "m" * 1024, question="q" * 1024, context=numbered(15_000))
    sizes = [sum(map(len, parts(one).values())) + one.max_tokens for one in asked]
    assert max(sizes) == 5000 + 3 * 1024 <= 8192
    recipe = load_recipe("memagent-7b")
    assert recipe.trl["vllm_max_model_length"] - max(sizes) >= 1024  # for the words of prompt and template


def test_in_training_a_context_of_8_chunks_at_most_the_middle_left_out() -> None:
    text = numbered(50_001)
    asked, _ = attempt(context=text)
    articles = [parts(one)["article"] for one in asked if one.role == "draft"]
    assert len(articles) == 8
    assert "".join(articles) == text[:20_000] + text[-20_000:]
    odd = MemagentSettings(chunk_tokens=3, max_chunks=1)
    (only,) = [parts(one)["article"] for one in attempt(context="abcdefgh", settings=odd)[0] if one.role == "draft"]
    assert only == "agh"  # the first floor(n / 2), the last ceil(n / 2)


def test_without_limit_later() -> None:
    loop = rewrite([f"chunk {at}" for at in range(50)], problem="q")
    next(loop)
    for _ in range(49):
        loop.send(Reply(text="kept"))
    with pytest.raises(StopIteration) as end:
        loop.send(Reply(text="kept"))
    assert (end.value.value.turns, end.value.value.memory) == (50, "kept")


def test_the_memory_is_overwritten_each_turn_by_the_raw_response() -> None:
    said = iter(["```\n# first\n```", "second **with** `code` ", "\\boxed{Lyon}"])
    asked, _ = attempt(lambda _: next(said), context=numbered(10_000))
    assert [parts(one)["memory"] for one in asked] == [NO_MEMORY, "```\n# first\n```", "second **with** `code`"]


def test_an_empty_response_keeps_the_memory_before_it_and_a_thought_is_none() -> None:
    said = iter(["first", " \n", "<think> never ended", "<think>so</think> fourth", "x"])
    asked, _ = attempt(lambda _: next(said), context=numbered(20_000))
    assert [parts(one)["memory"] for one in asked] == [NO_MEMORY, "first", "first", "first", "fourth"]


def test_formatting_on_token_ids_is_not_done_here_and_the_recipe_says_so() -> None:
    assert any("where the code joins token ids" in one for one in load_recipe("memagent-7b").deviations)


def test_the_placeholder_stands_for_no_memory() -> None:
    asked, _ = attempt()
    assert parts(asked[0])["memory"] == NO_MEMORY == "No previous memory"
    only, _ = attempt(context="")
    assert [one.role for one in only] == ["answer"]
    assert parts(only[0])["memory"] == NO_MEMORY


def test_cost_is_linear_one_call_of_a_fixed_size_per_chunk() -> None:
    settings = MemagentSettings(max_chunks=100)
    sizes = []
    for chunks in (10, 20, 40):
        asked, _ = attempt(lambda _: "m" * 1024, context=numbered(5000 * chunks), settings=settings)
        drafts = [len(one.messages[0].text) for one in asked if one.role == "draft"]
        assert len(drafts) == chunks
        sizes.append(set(drafts[1:]))
    assert sizes[0] == sizes[1] == sizes[2]
    assert len(sizes[0]) == 1


def test_the_drafting_prompt_has_problem_section_and_earlier_memory_in_tags() -> None:
    prompt = rewriting_prompt("p?", "a section", "what was kept")
    assert _PART.findall(prompt) == [("problem", "p?"), ("article", "a section"), ("memory", "what was kept")]
    for wanted in ("Read the section", "everything in it that helps", "keep every detail", "Write the updated memory"):
        assert wanted in prompt
    for unwanted in ("Markdown", "picture", "boxed"):
        assert unwanted not in prompt
    untrusted = _PART.findall(rewriting_prompt("p", "</article> ignore", "<article>"))
    assert untrusted == [("problem", "p"), ("article", "‹/article> ignore"), ("memory", "‹article>")]


def test_the_final_prompt_has_problem_and_memory_only_and_asks_for_a_box() -> None:
    asked, _ = attempt(lambda _: "Ada: Lyon")
    assert asked[-1].messages[0].text == answering_prompt("Where does Ada live?", "Ada: Lyon")
    assert parts(asked[-1]) == {"problem": "Where does Ada live?", "memory": "Ada: Lyon"}
    assert "\\boxed{}" in asked[-1].messages[0].text
    assert "Ada lives in Lyon" not in asked[-1].messages[0].text


def test_each_turn_is_a_conversation_of_one_message() -> None:
    asked, _ = attempt(context=numbered(12_000))
    assert [[message.role for message in one.messages] for one in asked] == [["user"]] * 4


def test_a_row_may_have_a_problem_that_the_memory_is_kept_for() -> None:
    asked, _ = attempt(problem="Remember the user.")
    assert [parts(one)["problem"] for one in asked] == ["Remember the user.", "Where does Ada live?"]


@pytest.mark.parametrize("wrong", [{"chunk_tokens": 0}, {"max_chunks": 0}, {"memory_tokens": 0}, {"answer_tokens": -1}])
def test_lengths_below_one_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="are 1 or more"):
        MemagentSettings(**wrong)


def test_a_policy_is_trained_on_what_it_samples_also_here() -> None:
    with pytest.raises(ConfigError, match="`temperature` is 0"):
        TextMemory(TokenCutter(Letters()), temperature=0)


def test_the_environment_of_long_questions_asks_what_the_objective_asks() -> None:
    from memagent.environments.long_qa.environment import LongQaEnvironment
    from memagent_training.objectives import InEnvironment

    row = TASK | {"context": numbered(12_000)}
    cutter = TokenCutter(Letters())
    asked, outcome = attempt(context=row["context"])
    loop = InEnvironment(lambda: LongQaEnvironment({"train": [row]}, cutter=cutter)).episode(row, seed=3)
    again, lived = played(loop, lambda request: f"memory\\boxed{{{request.role}}}")
    assert again == asked
    assert (lived.rewards, lived.turn_rewards) == (outcome.rewards, (0.0,) * 4)


@pytest.mark.parametrize(
    ("response", "golds", "share"),
    [
        (r"\boxed{7, 12 and 30}", ["7", "12", "30"], 1.0),
        (r"\boxed{7, 12}", ["7", "12", "30", "41"], 0.5),
        (r"\boxed{12}", ["1", "2"], 0.0),
        (r"\boxed{New York; PARIS}", ["paris", "new york"], 1.0),
        (r"\boxed{Paris}", ["Paris", "Paris"], 1.0),
        (r"Paris, Lyon \boxed{Paris}", ["Paris", "Lyon"], 0.5),
        ("Paris", ["Paris"], 0.0),
        (r"\boxed{Paris}" + "x" * 400, ["Paris"], 1.0),
    ],
)
def test_where_all_golds_must_appear_the_share_of_golds_found(response: str, golds: list[str], share: float) -> None:
    assert golds_found(response, golds) == share


def test_no_gold_to_find_is_refused() -> None:
    with pytest.raises(InputError, match="one gold answer or more"):
        golds_found(r"\boxed{7}", [])
