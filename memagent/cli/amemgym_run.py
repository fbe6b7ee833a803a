"""`memagent bench amemgym --model`: loads the models, shows how far it is, and says how to go on after a stop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memagent.cli.common import open_model, print_status, progress

if TYPE_CHECKING:
    from memagent.environments.amemgym.model_run import Settings
    from memagent.evaluation.report import Report


@dataclass(frozen=True)
class ModelFlags:
    """The flags of a run with a model."""

    model: str
    user_model: str | None
    users: int | None
    preset: str
    budgets: Sequence[int]
    methods: str | None
    seed: int
    embedder: str
    data: Path | None
    off_policy: Path | None
    upper_bound: bool
    concurrency: int

    def settings(self) -> Settings:
        """As the run takes them. Raises `InputError`."""
        from memagent.environments.amemgym.model_run import METHODS, Settings
        from memagent.errors import InputError

        if len(self.budgets) > 1:
            raise InputError("a run with a model has one budget; give the others runs and folders of their own")
        return Settings(
            model=self.model,
            user_model=self.user_model,
            methods=tuple(self.methods.split(",")) if self.methods else METHODS,
            budget=self.budgets[0] if self.budgets else 1024,
            data=self.data,
            users=self.users,
            preset=self.preset,
            seed=self.seed,
            embedder=self.embedder,
            off_policy=self.off_policy,
            upper_bound=self.upper_bound,
            concurrency=self.concurrency,
        )


def run_with_model(flags: ModelFlags, *, out: Path | None, dry: bool, prices: tuple[float | None, float | None]) -> Report:
    """The report of a run, or with `dry` of what it would cost."""
    from memagent.environments.amemgym.model_run import dry_run, run
    from memagent.errors import InputError

    settings = flags.settings()
    if (prices[0] is None) != (prices[1] is None):
        raise InputError("give both prices of a million tokens: --price-in and --price-out")
    if dry:
        known = None if prices[0] is None or prices[1] is None else (prices[0], prices[1])
        return dry_run(settings, prices=known)
    if out is None:
        print_status("without --out nothing is kept: a run that stops begins anew, and pays anew")
    with ExitStack() as models:
        model = models.enter_context(open_model(settings.model))
        same = settings.user_model == settings.model
        user = model if same else models.enter_context(open_model(settings.user_model))
        assert model is not None
        try:
            report = run(settings, model=model, user=user, out=out, say=print_status, track=progress)
        except BaseException:
            if out is not None:
                print_status(f"stopped; the same command goes on in {out} and pays no reply twice")
            raise
    for method, failed in report.meta["failures"].items():
        if failed["count"]:
            print_status(f"{method}: {failed['count']} calls failed, the first: {failed['first'][0]}")
    if out is not None:
        print_status(f"saved {out}")
    return report
