"""`memagent amemgym score`, `diagnose` and `bounds` against a second computation from the benchmark's description, to 1e-9."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers import amemgym_reference as reference
from helpers.amemgym_reports import curve_of, mean_of, run, write
from helpers.synthetic_users import chosen, made_items, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memagent.environments.amemgym.data import UserItem, save_items
from memagent.environments.amemgym.official_format import CallResult, probe_record
from memagent.models.base import Reply

quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class World:
    """Users of unequal sizes, and what an assistant said."""

    def __init__(self, seed: int, folder: Path, *, users: int | None = None) -> None:
        self.draw, self.folder = Random(seed), folder
        count = self.draw.randint(1, 3) if users is None else users
        sizes = [(self.draw.randint(1, 4), self.draw.randint(2, 5)) for _ in range(count)]
        typed = [made_items(k + 1, seed=seed, periods=p, questions=q)[k] for k, (p, q) in enumerate(sizes)]
        self.typed: list[UserItem] = typed
        self.items: list[Any] = [one.model_dump(mode="json") for one in typed]
        self.data = folder / "data.json"
        save_items(typed, self.data)

    def cells(self, say: Callable[[Any, int, int], Any]) -> list[Any]:
        """[users][periods][questions]."""
        return [
            [[say(item, p, q) for q in range(len(item["qas"]))] for p in range(len(item["periods"]))] for item in self.items
        ]

    def options(self, say: Callable[[Any, int, int], Any]) -> list[Any]:
        """[users][questions][options]."""
        return [
            [[say(item, q, k) for k in range(len(one["answer_choices"]))] for q, one in enumerate(item["qas"])]
            for item in self.items
        ]

    def saying(self, n: int) -> tuple[str, int]:
        return self.draw.choice(list(reference.SAYINGS)), self.draw.randint(1, n)

    def written(self, name: str, cells: list[Any]) -> Path:
        """The cells as official files of each user."""
        for item, user in zip(self.items, cells, strict=True):
            write(self.folder / "run" / item["id"] / name, user)
        return self.folder / "run"


def _size(item: Any, q: int) -> int:
    return len(item["qas"][q]["answer_choices"])


def _text(cell: tuple[str, int] | None, n: int) -> dict[str, str] | None:
    return None if cell is None else {"raw_response": reference.SAYINGS[cell[0]][0](cell[1], n)}


def _said(world: World) -> list[Any]:
    """A saying in every cell, with a hole here and there but not in the first period."""
    return world.cells(lambda item, p, q: None if p and world.draw.random() < 0.1 else world.saying(_size(item, q)))


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A new folder for each example."""
    return lambda: tmp_path_factory.mktemp("world")


@pytest.mark.parametrize("name", reference.SAYINGS)
def test_every_kind_of_reply_scores_as_by_hand(name: str, tmp_path: Path) -> None:
    world = World(3, tmp_path, users=1)
    said = world.cells(lambda item, p, q: (name, 1 + (p + q) % _size(item, q)))
    report = run("score", "--data", world.data, "--results", world.written("overall_results.json", _records(world, said)))
    [expected] = reference.scores(world.items, said)
    for found, wanted in zip(report["meta"]["overall_metrics"]["u0"]["accuracy"], expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-9)


def _records(world: World, said: list[Any]) -> list[Any]:
    return [
        [[_text(cell, _size(item, q)) for q, cell in enumerate(row)] for row in user]
        for item, user in zip(world.items, said, strict=True)
    ]


@quick
@given(seed=st.integers(0, 99_999))
def test_random_replies_of_ragged_users_score_as_the_reference(fresh: Callable[[], Path], seed: int) -> None:
    world = World(seed, fresh())
    said = _said(world)
    report = run("score", "--data", world.data, "--results", world.written("overall_results.json", _records(world, said)))
    expected = reference.scores(world.items, said)
    assert curve_of(report) == pytest.approx(reference.curve(expected), abs=1e-9)
    assert mean_of(report) == pytest.approx(reference.mean(reference.curve(expected)), abs=1e-9)
    assert report["meta"]["counts"].get("unanswered", 0) == sum(cell is None for u in said for row in u for cell in row)


@quick
@given(seed=st.integers(0, 99_999))
def test_bounds_and_memory_scores_are_those_of_the_reference(fresh: Callable[[], Path], seed: int) -> None:
    world = World(seed, fresh())
    said = _said(world)
    mostly = ["fence"] * 30 + list(reference.SAYINGS)
    asked = world.options(lambda item, q, k: (world.draw.choice(mostly), k + 1))
    told = [
        [[{"answer": k + 1, **(_text(cell, len(row)) or {})} for k, cell in enumerate(row)] for row in user] for user in asked
    ]
    results = world.written("overall_results.json", _records(world, said))
    bound = write(world.folder / "utilization_results.json", told)
    report = run("bounds", "--data", world.data, "--utilization", bound, "--results", results)
    accuracy, low = reference.scores(world.items, said), reference.chance(world.items)
    high = reference.upper(world.items, asked)
    for method, table in {
        "random": low,
        "upper_bound": high,
        "constant_1": reference.constant(world.items),
        "results": accuracy,
    }.items():
        assert curve_of(report, method=method) == pytest.approx(reference.curve(table), abs=1e-9), method
    for metric, by_user in {"memory_score": False, "memory_score_user_period": True}.items():
        mean, undefined = reference.memory(accuracy, low, high, by_user=by_user)
        assert mean_of(report, metric) == (None if mean is None else pytest.approx(mean, abs=1e-9))
        assert report["meta"]["undefined"][f"results/{metric}"] == undefined


PROBES: dict[str, tuple[Callable[[str], str], bool]] = {  # the object said, and whether it can be read
    "fence": (lambda said: f"```json\n{said}\n```", True),
    "object": (lambda said: said, True),
    "fence without tag": (lambda said: f"```\n{said}\n```", True),
    "prose": (lambda said: f"Going by what you told me: {said}", True),
    "list": (lambda said: f"```json\n[{said}, 1]\n```", True),
    "null": (lambda said: "null", False),
    "fenced null": (lambda said: "```json\nnull\n```", False),
    "nothing": (lambda said: "", False),
    "cut": (lambda said: said[:-1], False),
}


def _probe(world: World, item: Any, p: int, q: int) -> tuple[str, dict[str, str]]:
    """How a reply to a probe looks, and what is in it: right and wrong values, values of other types, gaps."""
    said: dict[str, Any] = {}
    for name in item["qas"][q]["required_info"]:
        value = item["periods"][p]["state"][name]
        kind = world.draw.choice(("right", "right", "right", "other", "padded", "upper", "list", "null", "missing"))
        odd = {"other": "else", "padded": f" {value}", "upper": value.upper(), "list": [value], "null": None}
        if kind != "missing":
            said[name] = value if kind == "right" else odd[kind]
    return world.draw.choice([*["fence"] * 6, *PROBES]), {**said, "made up": "x"}


@quick
@given(seed=st.integers(0, 99_999))
def test_replies_to_probes_are_counted_as_the_reference_does(fresh: Callable[[], Path], seed: int) -> None:
    world = World(seed, fresh())
    probed = world.cells(lambda item, p, q: _probe(world, item, p, q))
    records = [
        [
            [
                probe_record(item, p, q, "?", CallResult(Reply(text=PROBES[kind][0](json.dumps(said)), model="m")))
                for q, (kind, said) in enumerate(row)
            ]
            for p, row in enumerate(user)
        ]
        for item, user in zip(world.typed, probed, strict=True)
    ]
    said = world.cells(lambda item, p, q: world.saying(_size(item, q)))
    world.written("overall_results.json", _records(world, said))
    report = run("diagnose", "--data", world.data, "--results", world.written("diagnosis_results.json", records))
    counts = []
    for item, user in zip(world.items, probed, strict=True):

        def known(p: int, q: int, name: str, item: Any = item, user: Any = user) -> bool:
            kind, given = user[p][q]
            return bool(PROBES[kind][1] and given.get(name) == item["periods"][p]["state"][name])

        counts.append(reference.failures(item, known))
    assert report["meta"]["diagnosis_metrics"] == {item["id"]: one for item, one in zip(world.items, counts, strict=True)}
    wanted = reference.rates(counts, reference.scores(world.items, said))
    assert {name: mean_of(report, name) for name in wanted} == pytest.approx(wanted, abs=1e-9)
    total = [sum(parts) for parts in zip(*(curve_of(report, name) for name in ("accuracy", *wanted)), strict=True)]
    assert total == pytest.approx([1.0] * len(total), abs=1e-9)


def test_our_files_give_the_figure_steps_numbers(tmp_path: Path) -> None:
    """The released figure step: files of users, random and upper bound; means over questions, a quotient a user and period."""
    items = made_items(4, seed=2)
    save_items(items, tmp_path / "data.json")
    results = tmp_path / "run"
    for user, matrix in chosen(items, lambda item, p, q: (p * q) % 4).items():
        write(results / user / "overall_results.json", matrix)
    asked = [
        [[told(item, q, k, picks=k if q else 0) for k in range(len(one.answer_choices))] for q, one in enumerate(item.qas)]
        for item in items
    ]
    bound = write(tmp_path / "utilization_results.json", asked)
    files, data = ["--files", tmp_path / "files"], ["--data", tmp_path / "data.json", "--results", results]
    run("score", *data, *files)
    report = run("bounds", *data, "--utilization", bound, *files)

    def read(*name: str) -> Any:
        return json.loads(Path(tmp_path, "files", *name).read_text("utf-8"))["accuracy"]

    agent = [read(item.id, "overall_metrics.json") for item in items]
    low, high = read("random_metrics.json"), read("utilization_metrics.json")
    table = [
        [
            (reference.mean(a) - reference.mean(r)) / (reference.mean(u) - reference.mean(r))
            for a, r, u in zip(*rows, strict=True)
        ]
        for rows in zip(agent, low, high, strict=True)
    ]
    assert mean_of(report, "memory_score_user_period") == pytest.approx(
        reference.mean([one for row in table for one in row]), abs=1e-9
    )
    curve = [reference.mean(list(column)) for column in zip(*table, strict=True)]
    assert curve_of(report, "memory_score_user_period") == pytest.approx(curve, abs=1e-9)
