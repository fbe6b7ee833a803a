"""Looking through a memory for things a person would want to clean up."""

from __future__ import annotations

import re
from collections.abc import Iterable

from memagent.types import AuditFinding, Item

_VERY_LONG = 20_000
_INSTRUCTION = re.compile(
    r"\b(ignore|disregard|forget) (all |any |the |your )*(previous|prior|above|earlier) (instructions?|messages?|prompts?)"
    r"|\byou are now\b|\bsystem prompt\b",
    re.IGNORECASE,
)


def findings(items: Iterable[Item]) -> list[AuditFinding]:
    """Repeated, empty, very long items, and ones that read like an instruction planted for a model."""
    found: list[AuditFinding] = []
    first: dict[tuple[str | None, str], str] = {}
    for item in items:
        text = " ".join(item.text.split())
        if not text:
            found.append(AuditFinding(id=item.id, problem="empty", detail="holds no text"))
            continue
        same = first.setdefault((item.speaker or item.role, text.casefold()), item.id)
        if same != item.id:
            found.append(AuditFinding(id=item.id, problem="duplicate", detail=f"says the same as {same}"))
        if len(text) > _VERY_LONG:
            found.append(AuditFinding(id=item.id, problem="very long", detail=f"{len(text):,} characters"))
        planted = _INSTRUCTION.search(text)
        if planted:
            found.append(AuditFinding(id=item.id, problem="instruction", detail=f"holds {planted.group(0)!r}"))
        if item.valid_to is not None:
            found.append(AuditFinding(id=item.id, problem="no longer valid", detail=f"held until {item.valid_to:%Y-%m-%d}"))
    return found
