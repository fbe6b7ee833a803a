"""`memagent config`: the settings in force and where each comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memagent.cli.common import Json, print_result, print_status, settings, table

app = typer.Typer(no_args_is_help=True, help="Show and change settings.")

_NAMES = ("model", "base_url", "timeout", "memory", "budget", "user", "store", "embedder", "system", "memory_model")


@app.command()
def show(as_json: Json = False) -> None:
    """Show every setting, its value and where that comes from.

    Example: memagent config show
    """
    found = settings()
    values = {name: _plain(name, getattr(found, name)) for name in _NAMES}
    origins = {name: str(found.origin.get(name, "default")) for name in _NAMES}
    data = {name: {"value": values[name], "origin": origins[name]} for name in _NAMES}
    rows = [[name, "" if values[name] is None else str(values[name]), origins[name]] for name in _NAMES]
    print_result({"settings": data}, table([["SETTING", "VALUE", "FROM"], *rows]), as_json)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(_NAMES)}.")],
    value: Annotated[str, typer.Argument(help="Its value from now on.")],
    as_json: Json = False,
) -> None:
    """Write a setting to the user's file. Flags, variables and a project's file still go before it.

    Example: memagent config set model openai:gpt-5-mini
    """
    from memagent import config

    config.set_value(name, value)
    shown = _plain(name, value)
    print_result({"name": name, "value": shown, "file": str(config.user_file())}, "", as_json)
    print_status(f"{name} = {shown} in {config.user_file()}")
    found = settings()
    if found.origin.get(name) != str(config.user_file()):
        print_status(f"but here it is {_plain(name, getattr(found, name))}, by {found.origin.get(name)}")


@app.command()
def unset(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(_NAMES)}.")],
    as_json: Json = False,
) -> None:
    """Take a setting out of the user's file.

    Example: memagent config unset model
    """
    from memagent import config

    removed = config.unset(name)
    print_result({"name": name, "removed": removed, "file": str(config.user_file())}, "", as_json)
    print_status(
        f"{name} is {_plain(name, getattr(settings(), name))} now" if removed else f"{name} is not in {config.user_file()}"
    )


@app.command()
def path(as_json: Json = False) -> None:
    """Show where the user's settings are kept.

    Example: memagent config path
    """
    from memagent import config

    file = config.user_file()
    print_result({"file": str(file), "exists": file.exists()}, str(file), as_json)


def _plain(name: str, value: object) -> object:
    """A value as it is shown: of an address, without what may be secret in it."""
    if name == "base_url" and value is not None:
        from memagent.models.wire.endpoint import Endpoint

        return Endpoint(str(value)).shown
    return str(value) if isinstance(value, Path) else value
