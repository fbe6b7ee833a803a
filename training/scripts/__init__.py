"""Entry points that read top to bottom; run one with `python -m training.scripts.NAME --help`."""
