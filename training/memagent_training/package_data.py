"""Where recipes and launcher configurations lie: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def data_folder(name: Literal["recipes", "configs"]) -> Path:
    """The folder of recipes (TOML) or of configurations for `accelerate launch` (YAML)."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
