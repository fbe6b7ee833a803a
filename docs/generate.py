"""Write docs/reference/cli.md: the help text of every command, as the program prints it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMANDS = ("", "chat", "memory", "sessions", "models", "keys", "config", "doctor", "render", "import", "bench", "amemgym")


def main() -> None:
    parts = ["# Help texts\n\nMade by `make docs`.\n"]
    for name in COMMANDS:
        command = [sys.executable, "-m", "memagent.cli.main", *name.split(), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"})
        parts.append(f"## memagent {name}".rstrip() + f"\n\n```\n{done.stdout.strip()}\n```\n")
    (Path(__file__).parent / "reference" / "cli.md").write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
