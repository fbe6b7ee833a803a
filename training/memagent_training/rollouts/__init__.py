"""How rollouts are made: episodes driven together, groups, what fails, and the gap between sampler and trainer."""
