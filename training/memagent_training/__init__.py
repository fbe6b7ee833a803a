"""Reinforcement learning for memory agents: one GRPO core, one trainer on TRL, one recipe per paper.

`memagent_training.grpo` holds every formula as an exchangeable part and knows no trainer; `memagent_training.trainer` holds no
formula; `memagent_training.objectives` say what is rolled out and rewarded. `memagent-train` (`memagent_training.cli`) is the
entry point.
"""
