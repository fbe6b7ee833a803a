"""`memagent`: the command line. A group is imported only when it is used, so that `--help` is fast.

Every error ends here: one line on stderr, or with `--json` one object on stdout, and the exit code of its kind.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from importlib import import_module
from typing import NoReturn

import typer

from memagent.cli.common import INTERRUPTED, JSON_VERSION, print_json, print_status, show_version

GROUPS = {
    "memory": "List, change, export and import what is remembered.",
    "sessions": "List, show and delete sessions.",
    "keys": "Keep the keys of hosted models in a private file.",
    "config": "Show and change settings.",
    "bench": "Measure, with tables, JSON and plots.",
    "amemgym": "Make, check, convert and score AMemGym data and results.",
}
COMMANDS = {
    "chat": "memagent.cli.chat.command",
    "models": "memagent.cli.models",
    "doctor": "memagent.cli.doctor",
    "render": "memagent.cli.render",
    "import": "memagent.cli.import_",
}
_HELP = """Chat with an agent that remembers; inspect, change and measure its memory.

Exit codes: 0 ok; 1 unexpected; 2 usage; 3 configuration, key or extra missing; 4 model or provider failed, or broke off its
answer; 5 memory store failed; 130 interrupted.

Example: memagent chat -p "My dog is called Biscuit."
"""
_ClickException = typer.BadParameter.__mro__[2]  # typer does not export it, and newer ones bring their own click


def build(arguments: list[str]) -> typer.Typer:
    """The program; only the command that `arguments` call is imported."""
    app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    app.callback()(_options)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, module in COMMANDS.items():
        extra = {"allow_extra_args": name == "chat"}  # so that `memagent chat hi` can name -p
        app.command(name, context_settings=extra)(import_module(module).command if chosen in (name, None) else _absent)
    for name, text in GROUPS.items():
        group = import_module(f"memagent.cli.{name}").app if chosen == name else typer.Typer()
        app.add_typer(group, name=name, help=text)
        if chosen != name:
            group.callback()(_absent)
    return app


def _absent() -> None:
    """Placeholder for a command that is not called."""


def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", callback=show_version, is_eager=True),
) -> None:
    """Options that come before a command."""


def main() -> None:
    """Entry point: runs a command and turns errors into one line, or one JSON object, and an exit code."""
    arguments = sys.argv[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):  # of another encoding, maybe, that lacks signs of the result
        sys.stdout.reconfigure(errors="replace")
    try:
        code = build(arguments)(args=arguments, prog_name="memagent", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except Exception as error:
        _fail(error, arguments)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: Exception, arguments: list[str]) -> NoReturn:
    """Report an error that no command handled, and end."""
    usage = isinstance(error, _ClickException)
    code: int = 2 if usage else getattr(error, "exit_code", 1)
    if "--json" in arguments:
        from memagent.cli import json_output

        # for a chat with all fields of its answer, else alone
        if "chat" in arguments[:1]:
            found = json_output.of_error(error)
        else:
            found = {"version": JSON_VERSION, "error": json_output.error_body(error)}
        if usage:
            found["error"] = {"code": "usage", "message": error.format_message(), "retryable": False}  # type: ignore[attr-defined]
        print_json(found)
    elif usage:
        shown = io.StringIO()
        error.show(shown)  # type: ignore[attr-defined]
        print_status(shown.getvalue().rstrip())
    elif hasattr(error, "exit_code"):
        print_status(f"memagent: {error}")
    else:
        print_status(f"memagent: unexpected {type(error).__name__}: {error} (MEMAGENT_DEBUG=1 shows where)")
    if code == 1 and os.environ.get("MEMAGENT_DEBUG", "") not in ("", "0"):
        print_status("".join(traceback.format_exception(error)).rstrip())
    sys.exit(code)


if __name__ == "__main__":
    main()
