"""What is remembered of every prompt and of the last steps: pass rates by prompt, failure rates by step (CoBA-RL 6)."""
