"""`memagent`: the command line. Groups are imported when they are used, so that `--help` costs nothing."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import typer

GROUPS = {
    "memory": "look into a memory and change it",
    "sessions": "list, show and delete sessions",
    "keys": "keep keys of hosted models",
    "config": "show and change settings",
    "bench": "measure, with tables, JSON and plots",
}
COMMANDS = {
    "chat": "memagent.cli.chat",
    "models": "memagent.cli.models",
    "doctor": "memagent.cli.doctor",
    "render": "memagent.cli.render",
    "import": "memagent.cli.import_",
}
_HELP = """Agents with a memory: talk, look into memories, measure them.

Exit codes: 0 ok; 1 unexpected; 2 usage; 3 configuration, key or extra missing; 4 model or provider failed; 5 memory store
failed; 130 interrupted.

Example: memagent chat -p "My dog is called Biscuit."
"""


def build(arguments: list[str]) -> typer.Typer:
    """The program, with the groups that these arguments need loaded in full."""
    app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    app.callback()(_options)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, module in COMMANDS.items():
        app.command(name)(import_module(module).command if chosen in (name, None) else _absent)
    for name, text in GROUPS.items():
        group = import_module(f"memagent.cli.{name}").app if chosen == name else typer.Typer()
        app.add_typer(group, name=name, help=text)
        if chosen != name:
            group.callback()(_absent)
    return app


def _absent() -> None:
    """Stands in for a command that these arguments do not call."""


def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        from memagent import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: runs a command and turns errors into one line, or one JSON object, and an exit code."""
    arguments = sys.argv[1:]
    try:
        build(arguments)(args=arguments, prog_name="memagent")
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        from memagent.errors import MemAgentError  # not before: `doctor` runs where another `renderers` hides ours

        if not isinstance(error, MemAgentError):
            raise
        _report(error.code, str(error), bool(getattr(error, "retryable", False)), "--json" in arguments)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _report(code: str, message: str, retryable: bool, as_json: bool) -> None:
    if as_json:
        error = {"code": code, "message": message, "retryable": retryable}
        typer.echo(json.dumps({"version": 1, "error": error}, ensure_ascii=False))
    else:
        typer.echo(f"memagent: {message}", err=True)


if __name__ == "__main__":
    main()
