"""Whether MemOCR leads the other memories of `memagent bench amemgym` within a budget and, where not, what it lost there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memagent.environments.amemgym.error_analysis import MissingValue, counted, summarize
from memagent.environments.amemgym.scoring.metrics import MEAN, Cells, Pool, pooled_rows

MEMOCR = "memocr"


@dataclass(frozen=True)
class Played:
    """What a memory made of all users."""

    accuracy: Cells
    """[users][periods][questions]."""
    losses: Sequence[Sequence[MissingValue]]
    """By user."""


def standing(played: Mapping[str, Played], *, seed: int = 0) -> dict[str, object] | None:
    """How MemOCR compares with the best of the others, and why it lost what another memory has; None without rivals.

    `lead` is the difference of mean accuracies, with a 95 % interval over users. `behind_in` lists the periods in which some
    other memory is better. `lost` counts MemOCR's lost values in the answers that another memory gives better.
    """
    rivals = {method: one for method, one in played.items() if method != MEMOCR}
    if MEMOCR not in played or not rivals:
        return None
    own = played[MEMOCR]
    means = {method: pooled_rows(method, "accuracy", one.accuracy)[-1].value for method, one in played.items()}
    best = max(rivals, key=lambda method: means[method])
    lead = pooled_rows(MEMOCR, "lead", _differences(own.accuracy, rivals[best].accuracy), seed=seed)[-1]
    assert lead.at == MEAN
    curves = {method: Pool.of(one.accuracy).curve() for method, one in played.items()}
    behind = [p for p, value in enumerate(curves[MEMOCR]) if any(curves[method][p] > value + 1e-9 for method in rivals)]
    better = _better(own, rivals)
    lost = [loss for u, found in enumerate(own.losses) for loss in found if (u, loss.period, loss.question) in better]
    answers = sum(len(row) for user in own.accuracy for row in user)
    said = _said(lead.value, lead.low, lead.high)
    compared = f"{MEMOCR} {means[MEMOCR]:.3f}, the best other memory ({best}) {means[best]:.3f}: {said}."
    guessed = sum(all(one.accuracy[u][p][q] != 1.0 for one in rivals.values()) for u, p, q in better)
    return {
        "best_other": best,
        "lead": {"value": lead.value, "low": lead.low, "high": lead.high},
        "behind_in": behind,
        "answers": answers,
        "better_elsewhere": len(better),
        "of_these_guessed": guessed,
        "lost": counted(lost),
        "text": " ".join([compared, *_why(behind, (len(better), guessed, answers), lost)]),
    }


def _differences(some: Cells, others: Cells) -> Cells:
    """Cell by cell."""
    return [
        [[None if a is None or b is None else a - b for a, b in zip(*rows, strict=True)] for rows in zip(*users, strict=True)]
        for users in zip(some, others, strict=True)
    ]


def _better(own: Played, rivals: Mapping[str, Played]) -> set[tuple[int, int, int]]:
    """User, period and question of the answers that a rival gives better."""
    return {
        (u, p, q)
        for one in rivals.values()
        for u, user in enumerate(_differences(own.accuracy, one.accuracy))
        for p, row in enumerate(user)
        for q, lead in enumerate(row)
        if lead is not None and lead < -1e-9
    }


def _said(lead: float, low: float | None, high: float | None) -> str:
    interval = "" if low is None or high is None else f" (95 % {low:+.3f} to {high:+.3f})"
    if abs(lead) < 1e-9:
        return f"level{interval}"
    return f"{MEMOCR} {'leads' if lead > 0 else 'is behind'} by {abs(lead):.3f}{interval}"


def _why(behind: Sequence[int], answers: tuple[int, int, int], lost: Sequence[MissingValue]) -> list[str]:
    better, guessed, all_of_them = answers
    if not better:
        return ["No other memory answers any question better."]
    periods = [f"Another memory is ahead in the periods {', '.join(map(str, behind))}."] if behind else []
    by_guess = f" ({guessed} of them by the odds of a guess, without knowing)" if guessed else ""
    said = (
        f"Another memory answers {better} of {all_of_them} questions better{by_guess}; there {MEMOCR} lacks {summarize(lost)}."
    )
    return [*periods, said]
