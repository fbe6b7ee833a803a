"""`memagent amemgym generate`: users out of the bank, or written by a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memagent.cli.common import Json, one_line, open_model, print_result, print_status, progress, terminal

if TYPE_CHECKING:
    from memagent.environments.amemgym.data import UserItem
    from memagent.environments.amemgym.generate import GeneratorSettings
    from memagent.environments.amemgym.generate.by_model import GeneratedUser


def generate(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where raw/ and data.json go.")],
    users: Annotated[int | None, typer.Option(metavar="N", help="How many. Default: the preset's, 20.")] = None,
    preset: Annotated[str, typer.Option(help="v1.base or v1.extra.")] = "v1.base",
    seed: Annotated[int | None, typer.Option(help="Default: the preset's, 42.")] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="NAME", help="Model that writes. Default: out of the bank, without one."),
    ] = None,
    persona: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON (lines) of personas for the model. Default: drawn from the bank.")
    ] = None,
    concurrency: Annotated[int, typer.Option(metavar="N", help="Users that a model writes at a time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only estimate a model's calls and tokens.")] = False,
    as_json: Json = False,
) -> None:
    """Make users: working files and the environment file, checked.

    A model's answers are kept in the folder, so that the same command goes on where it stopped and pays no call twice.

    Example: memagent amemgym generate --users 5 --out made --json
    """
    from memagent.environments.amemgym.generate import preset as preset_of
    from memagent.errors import InputError

    settings = preset_of(preset)
    wanted = settings.num_user_profiles if users is None else users
    if model is None and persona is not None:
        raise InputError("--persona is for a model to write from; name one with --model, or leave it out")
    if wanted < 0:
        raise InputError(f"{wanted} users cannot be generated; give 0 or more")
    if dry_run:
        _estimate(wanted, settings, seed, model, as_json)
    elif model is None:
        _from_the_bank(wanted, settings, seed, out, as_json)
    else:
        _by_model(model, wanted, settings, seed, persona, concurrency, out, as_json)


def _estimate(users: int, settings: GeneratorSettings, seed: int | None, model: str | None, as_json: bool) -> None:
    from memagent.environments.amemgym.estimate import Cost, estimate_generation

    cost = Cost() if model is None else estimate_generation(users, settings=settings, seed=seed)
    text = f"{users} users: {cost.calls} calls, about {cost.tokens_in} tokens read and {cost.tokens_out} written"
    more = "" if model is None else "; answers that have to be asked for again come on top"
    facts = {"users": users, "calls": cost.calls, "text_in": cost.tokens_in, "text_out": cost.tokens_out}
    print_result({**facts, "model": model, "dry_run": True}, text + more, as_json)


def _from_the_bank(users: int, settings: GeneratorSettings, seed: int | None, out: Path, as_json: bool) -> None:
    from memagent.environments.amemgym.data import save_items
    from memagent.environments.amemgym.generate import generate_users, write_raw
    from memagent.environments.amemgym.generate.working_files import claim

    items = generate_users(users, settings=settings, seed=seed)
    claim(out / "raw", [item.id for item in items])
    write_raw(items, out / "raw")
    save_items(items, out / "data.json")
    _print_made({"model": None, "wanted": users, "failed": {}}, items, out, "no model calls", as_json)


def _by_model(
    name: str,
    users: int,
    settings: GeneratorSettings,
    seed: int | None,
    persona: Path | None,
    concurrency: int,
    out: Path,
    as_json: bool,
) -> None:
    from memagent.environments.amemgym.estimate import estimate_generation
    from memagent.environments.amemgym.generate.by_model import generate_by_model, load_personas
    from memagent.evaluation.runner import open_run

    def done(user: GeneratedUser) -> None:
        if not terminal("stderr"):  # where there is no bar
            how = f"failed: {one_line(user.reason, 400)}" if user.reason is not None else "is done"
            print_status(f"user {user.id} {how} (after {user.usage.calls} calls)")

    personas = None if persona is None else load_personas(persona)
    calls = estimate_generation(users, settings=settings, seed=seed).calls
    with (
        open_model(name) as writer,
        open_run(out, concurrency=concurrency) as run,
        progress("calls", calls) as tick,
    ):
        assert writer is not None
        found = generate_by_model(
            run.model(writer),
            out,
            settings=settings,
            n=users,
            seed=seed,
            personas=personas,
            limit=run.pool,
            tick=tick,
            done=done,
        )
        paid = run.calls.paid
    usage = found.usage
    again = f"{found.retries} for rejected answers, {found.repairs} for texts that were misread"
    costs = (
        f"{usage.calls} calls, of them {again}; {usage.text_in} tokens read, {usage.text_out} written; {paid} calls paid now"
    )
    each = [
        {"id": one.id, "reason": one.reason, "calls": one.usage.calls, "retries": one.retries, "repairs": one.repairs}
        for one in found.users
    ]
    facts = {
        **{"model": name, "wanted": users, "failed": found.failed},
        **{"calls": usage.calls, "retries": found.retries, "repairs": found.repairs},
        **{"text_in": usage.text_in, "text_out": usage.text_out, "each": each, "paid_now": paid},
    }
    _print_made(facts, found.items, out, costs, as_json)


def _print_made(facts: dict[str, Any], items: list[UserItem], out: Path, costs: str, as_json: bool) -> None:
    from memagent.environments.amemgym.validate import check_items

    violations = check_items(items)
    counts = {
        "users": len(items),
        "sessions": sum(len(period.sessions) for item in items for period in item.periods),
        "questions": sum(len(item.qas) for item in items),
        "options": sum(len(question.answer_choices) for item in items for question in item.qas),
    }
    file = out / "data.json"
    lines = [
        f"{file}: {', '.join(f'{number} {name}' for name, number in counts.items())}",
        f"{len(facts['failed'])} of {facts['wanted']} users failed, {len(violations)} rules broken",
        costs,
        *(f"failed: {user}: {one_line(str(reason), 400)}" for user, reason in facts["failed"].items()),
        *map(str, violations),
    ]
    found = {"file": str(file), **counts, **facts, "violations": [str(one) for one in violations]}
    print_result(found, "\n".join(lines), as_json)
