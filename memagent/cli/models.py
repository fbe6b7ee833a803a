"""`memagent models`: which models can be named, and what each still needs."""

from __future__ import annotations

from dataclasses import asdict

from memagent.cli.common import Json, print_result, table


def command(as_json: Json = False) -> None:
    """List the models that can be named, and what installs those that are not ready.

    Keys and servers are not tried: see `memagent doctor`.

    Example: memagent models
    """
    from memagent.models.registry import list_models

    found = list_models()
    rows = [["MODEL", "READY", "WHAT IT IS"]]
    for one in found:
        rows.append([one.name, "yes" if one.available else "no", one.description])
        if not one.available and one.install:
            rows.append(["", "", f"  {one.install}"])
    print_result({"models": [asdict(one) for one in found]}, table(rows), as_json)
