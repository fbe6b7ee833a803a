"""`memagent amemgym generate`: users out of the bank, or written by a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import Json, load, one_line, print_result, print_status, progress, terminal

if TYPE_CHECKING:
    from memagent.environments.amemgym.data import Item
    from memagent.environments.amemgym.generate import GeneratorSettings
    from memagent.environments.amemgym.generate.by_model import GeneratedUser, Generation, Persona


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
    from dataclasses import asdict

    from memagent.environments.amemgym.generate.by_model import Estimate, estimate

    found = Estimate(users, 0, 0, 0) if model is None else estimate(users, settings=settings, seed=seed)
    text = f"{users} users: {found.calls} calls, about {found.text_in} tokens read and {found.text_out} written"
    more = "" if model is None else "; answers that have to be asked for again come on top"
    print_result({**asdict(found), "model": model, "dry_run": True}, text + more, as_json)


def _from_the_bank(users: int, settings: GeneratorSettings, seed: int | None, out: Path, as_json: bool) -> None:
    from memagent.environments.amemgym.data import save_items
    from memagent.environments.amemgym.generate import generate_users, write_raw
    from memagent.environments.amemgym.generate.raw import claim

    items = generate_users(users, settings=settings, seed=seed)
    claim(out / "raw", [item.id for item in items])
    write_raw(items, out / "raw")
    save_items(items, out / "data.json")
    _tell({"model": None, "wanted": users, "failed": {}}, items, out, "no model calls", as_json)


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
    from memagent.environments.amemgym.generate.by_model import estimate, generate_by_model, load_personas
    from memagent.models.cached import CachedModel, CallCache
    from memagent.models.concurrency import CallPool

    personas: list[Persona] | None = None if persona is None else load_personas(persona)
    limit = CallPool(concurrency)
    calls = estimate(users, settings=settings, seed=seed).calls
    writer = load(name)
    try:
        with CallCache(out) as cache, progress("calls", calls) as tick:
            found = generate_by_model(
                CachedModel(writer, cache, limit=limit),
                out,
                settings=settings,
                n=users,
                seed=seed,
                personas=personas,
                limit=limit,
                tick=tick,
                done=_say,
            )
            paid = cache.paid
    finally:
        writer.close()
    _tell(
        {**_facts(name, users, found), "paid_now": paid}, found.items, out, f"{_costs(found)}; {paid} calls paid now", as_json
    )


def _say(user: GeneratedUser) -> None:
    """Tell of a user that ended, where there is no bar."""
    if not terminal("stderr"):
        how = f"failed: {one_line(user.reason, 400)}" if user.reason is not None else "is done"
        print_status(f"user {user.id} {how} (after {user.usage.calls} calls)")


def _facts(name: str, users: int, found: Generation) -> dict[str, object]:
    each = [
        {"id": one.id, "reason": one.reason, "calls": one.usage.calls, "retries": one.retries, "repairs": one.repairs}
        for one in found.users
    ]
    usage = found.usage
    total = {"calls": usage.calls, "retries": found.retries, "repairs": found.repairs}
    tokens = {"text_in": usage.text_in, "text_out": usage.text_out}
    return {"model": name, "wanted": users, "failed": found.failed, **total, **tokens, "each": each}


def _costs(found: Generation) -> str:
    usage = found.usage
    again = f"{found.retries} for rejected answers, {found.repairs} for texts that were misread"
    return f"{usage.calls} calls, of them {again}; {usage.text_in} tokens read, {usage.text_out} written"


def _tell(facts: dict[str, object], items: list[Item], out: Path, costs: str, as_json: bool) -> None:
    from memagent.environments.amemgym.validate import check_items

    violations = check_items(items)
    counts = {
        "users": len(items),
        "sessions": sum(len(period.sessions) for item in items for period in item.periods),
        "questions": sum(len(item.qas) for item in items),
        "options": sum(len(question.answer_choices) for item in items for question in item.qas),
    }
    file = out / "data.json"
    shown = ", ".join(f"{number} {name}" for name, number in counts.items())
    failed = facts["failed"]
    assert isinstance(failed, dict)
    lines = [
        f"{file}: {shown}",
        f"{len(failed)} of {facts['wanted']} users failed, {len(violations)} rules broken",
        costs,
        *(f"failed: {user}: {one_line(str(reason), 400)}" for user, reason in failed.items()),
        *map(str, violations),
    ]
    print_result(
        {"file": str(file), **counts, **facts, "violations": [str(one) for one in violations]}, "\n".join(lines), as_json
    )
