"""How right answers are, where wrong ones arose, and the memory score; numbers by period with intervals over users."""
