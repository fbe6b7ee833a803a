"""Fail on a skipped test whose reason is not in allowed_skips.txt. Reads pytest outputs made with -rs."""

import re
import sys
from pathlib import Path

allowed = [
    line.strip()
    for line in (Path(__file__).parent / "allowed_skips.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
reasons = [
    match.group(1)
    for name in sys.argv[1:]
    for match in re.finditer(r"^SKIPPED \[\d+\] \S+ (.*)$", Path(name).read_text(), re.MULTILINE)
]
bad = [reason for reason in reasons if not any(one in reason for one in allowed)]
for reason in bad:
    print(f"skipped for a reason that is not allowed here: {reason}", file=sys.stderr)
sys.exit(bool(bad))
