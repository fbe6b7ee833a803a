"""Reinforcement learning for memory agents: one GRPO core, one trainer on TRL, one recipe per paper.

`training.grpo` holds every formula as an exchangeable part and knows no trainer; `training.trainer` holds no formula;
`training.objectives` say what is rolled out and rewarded; `training.scripts` are the entry points.
"""

MEMAGENT_TRAINING = 1
"""Marks this package as memagent's own: other folders called `training` exist."""
