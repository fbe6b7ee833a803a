"""Where a user's data are kept unless told otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def default_folder() -> Path:
    """`MEMAGENT_HOME`, else the platform's folder for a user's data."""
    import platformdirs

    home = os.environ.get("MEMAGENT_HOME")
    return Path(home) if home else Path(platformdirs.user_data_dir("memagent", appauthor=False))
