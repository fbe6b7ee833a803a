"""What a run leaves behind: checkpoints that can be trusted, a log, a README, and a probe of its weights."""
