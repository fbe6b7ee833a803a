"""Train a policy by a recipe: `memagent-train run`, by path.

python training/scripts/train.py --recipe demo --out out/demo
accelerate launch --num_processes 8 training/scripts/train.py --recipe coba --out out/coba
"""

from __future__ import annotations

import sys

from memagent_training.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
