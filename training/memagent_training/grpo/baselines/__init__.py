"""Baselines: what a reward is judged by. A recipe names one by its key in `BASELINES`."""

from memagent_training.grpo.baselines.base import Baseline
from memagent_training.grpo.baselines.group_mean import GroupMean
from memagent_training.grpo.baselines.leave_one_out import LeaveOneOut
from memagent_training.grpo.baselines.v05 import (
    V05,
    Fusion,
    GroupRun,
    V05Baseline,
    fuse,
    gain_rate,
    oracle_weight,
    osla_gain,
    run_group,
    stop_k,
    v05_baseline,
    v05_should_stop,
)

BASELINES: dict[str, type[GroupMean] | type[LeaveOneOut] | type[V05Baseline]] = {
    GroupMean.name: GroupMean,
    LeaveOneOut.name: LeaveOneOut,
    V05Baseline.name: V05Baseline,
}
"""Baseline by name."""

__all__ = [
    "BASELINES",
    "V05",
    "Baseline",
    "Fusion",
    "GroupMean",
    "GroupRun",
    "LeaveOneOut",
    "V05Baseline",
    "fuse",
    "gain_rate",
    "oracle_weight",
    "osla_gain",
    "run_group",
    "stop_k",
    "v05_baseline",
    "v05_should_stop",
]
