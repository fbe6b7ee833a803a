"""Credit: how the advantages of rollouts reach their segments and tokens. One part a module, named in `CREDITS`."""

from memagent_training.grpo.credit.base import Credit, TokenAdvantages
from memagent_training.grpo.credit.broadcast import broadcast, weigh_by_prompt
from memagent_training.grpo.credit.hian import HianCredit, hian_advantages, hian_batch, turn_advantages
from memagent_training.grpo.credit.memocr import MemocrAdvantages, MemocrCredit, memocr_advantages
from memagent_training.grpo.credit.merged import MergedCredit, merged_advantages, merged_turn_advantages, turn_variance_share
from memagent_training.grpo.credit.outcome import OutcomeCredit

CREDITS: dict[str, type[OutcomeCredit] | type[MemocrCredit] | type[HianCredit] | type[MergedCredit]] = {
    OutcomeCredit.name: OutcomeCredit,
    MemocrCredit.name: MemocrCredit,
    HianCredit.name: HianCredit,
    MergedCredit.name: MergedCredit,
}
"""Recipe name -> class."""

__all__ = [
    "CREDITS",
    "Credit",
    "HianCredit",
    "MemocrAdvantages",
    "MemocrCredit",
    "MergedCredit",
    "OutcomeCredit",
    "TokenAdvantages",
    "broadcast",
    "hian_advantages",
    "hian_batch",
    "memocr_advantages",
    "merged_advantages",
    "merged_turn_advantages",
    "turn_advantages",
    "turn_variance_share",
    "weigh_by_prompt",
]
