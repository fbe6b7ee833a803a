"""`memagent keys`: keys of hosted models, kept in a file that only its owner can read. No command prints one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from memagent.cli.common import Json, print_result, print_status, table, terminal

app = typer.Typer(no_args_is_help=True, help="Keep the keys of hosted models in a private file.")

Provider = Annotated[str, typer.Argument(metavar="PROVIDER", help="What stands before the colon: openai.")]


@app.command("set")
def set_(provider: Provider, as_json: Json = False) -> None:
    """Save a key, read from stdin or asked for without showing it.

    Example: memagent keys set openai < key.txt
    """
    from memagent import config
    from memagent.errors import InputError

    if terminal("stdin"):
        key = str(typer.prompt(f"Key for {provider}", hide_input=True, err=True)).strip()
    else:
        key = sys.stdin.read().strip()
    if not key or any(sign.isspace() or not sign.isprintable() for sign in key):
        raise InputError("a key is one word; none was given, or it holds spaces. Nothing was saved")
    config.save_key(provider, key)
    print_result({"provider": provider, "saved": True}, "", as_json)
    print_status(f"the key for {provider} is saved")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the providers that have a key, saved or in the environment. The keys themselves are not shown.

    Example: memagent keys list
    """
    from memagent import config
    from memagent.models.registry import list_models

    names = dict.fromkeys([*(one.name.partition(":")[0] for one in list_models()), *config.key_names()])
    found = {name: config.key_origin(name) for name in names}
    providers = [name for name in names if found[name]]
    if not providers:
        print_status("no model has a key; `memagent keys set openai` saves one")
    print_result({"providers": providers}, table([[name, found[name] or ""] for name in providers]), as_json)


@app.command()
def remove(provider: Provider, as_json: Json = False) -> None:
    """Delete a saved key. One in the environment is not touched.

    Example: memagent keys remove openai
    """
    from memagent import config
    from memagent.errors import NotFound

    if not config.remove_key(provider):
        raise NotFound(f"no key is saved for {provider!r}; `memagent keys list` shows the saved ones")
    print_result({"provider": provider, "removed": True}, "", as_json)
    print_status(f"the key for {provider} is removed")
