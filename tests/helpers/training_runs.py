"""`memagent-train run` in processes of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "renderers", ROOT / "training")))


def run_recipe(recipe: str, out: Path, values: Mapping[str, object], *, tables: Mapping[str, str], processes: int = 1) -> None:
    """Train into `out` with every rollout logged: `values` by their place in the recipe, `tables` as TOML."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "training" / "configs" / "cpu2.yaml")]
    launcher += ["--main_process_port", "0"]
    settings = [f"{place}={value}" for place, value in tables.items()]
    settings += [f"{place}={json.dumps(value)}" for place, value in values.items()]
    command = [
        sys.executable,
        *(launcher if processes > 1 else []),
        *["-m", "memagent_training", "run", "--recipe", recipe, "--out", str(out), "--quiet", "--log-rollouts"],
        *[word for setting in settings for word in ("--set", setting)],
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": PATHS}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
