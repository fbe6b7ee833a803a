"""Visual tokens and pixels: the rules that turn a budget into a page size, exactly.

Pages are laid out on the reader's own grid from the start (`ImagePricing.largest`), so that the reader's own resize leaves them
alone and the price is known before anything is drawn; a page that was finished otherwise is scaled onto that grid
(`shrink_to`). `processor_limits` opens a transformers image processor just as far as the price says.
"""

from __future__ import annotations

from memagent_renderers.budget import Budget, ReaderProfile
from memagent_renderers.errors import BudgetError, InputError
from memagent_renderers.pricing import MAX_ASPECT, PAGE_ASPECT, FlatPricing, ImagePricing, PatchPricing, smart_resize

__all__ = ["MAX_ASPECT", "PAGE_ASPECT", "processor_limits", "shrink_to", "smart_resize", "tokens_for"]


def shrink_to(width: int, height: int, tokens: int, *, cell: int = 28, floor: int = 1) -> tuple[int, int]:
    """Size to which a finished page is scaled for `tokens`; small pages grow to min(8, tokens // 2) tokens only.

    They also grow to the `floor` of the reader, who would enlarge them himself otherwise, perhaps beyond `tokens`.
    Raises `BudgetError` for `tokens` below `floor` and `InputError` as `smart_resize`.
    """
    if tokens < floor:
        raise BudgetError(f"every picture costs at least {floor} visual tokens; the budget is {tokens}")
    least = max(floor, min(8, max(1, tokens // 2)))
    return smart_resize(width, height, cell=cell, min_tokens=least, max_tokens=tokens)


def tokens_for(budget: Budget) -> int:
    """Visual tokens that a page for `budget` may cost. Raises `BudgetError` below the reader's floor."""
    pricing = budget.reader.pricing
    if budget.tokens < pricing.floor:
        raise BudgetError(
            f"every picture costs reader `{budget.reader.name}` at least {pricing.floor} visual tokens; "
            f"the budget is {budget.tokens}. Give {pricing.floor} or more."
        )
    return min(budget.tokens, pricing.ceiling)


def processor_limits(reader: ReaderProfile | ImagePricing) -> dict[str, dict[str, int]]:
    """Keyword arguments with which a transformers image processor passes our pages unchanged, at the price we said.

    For Qwen-VL's processors `size` holds the fewest and the most pixels (not sides, whatever the names say) of a
    picture; for Gemma's the sides of every picture. Give them to the processor's class or to a call. Raises
    `InputError` for readers that are only hosted.
    """
    pricing = reader.pricing if isinstance(reader, ReaderProfile) else reader
    if isinstance(pricing, PatchPricing):
        area = pricing.cell**2
        return {"size": {"shortest_edge": pricing.floor * area, "longest_edge": pricing.ceiling * area}}
    if isinstance(pricing, FlatPricing) and not pricing.cropped:
        return {"size": {"height": pricing.side, "width": pricing.side}}
    raise InputError(f"{pricing} is the price of a hosted model: transformers has no image processor for it")
