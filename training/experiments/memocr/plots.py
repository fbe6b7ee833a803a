"""Pictures of a laptop study: accuracy against budget, and where the evidence stands as training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from memagent.evaluation.metrics import mean_interval
from training.experiments.memocr.learn import History
from training.experiments.memocr.report import Tables


def plot_accuracy(several: Sequence[Tables], path: Path) -> None:
    """Accuracy by the real OCR against the budget, a panel a mode, a line an arm, with 95 % intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(several), figsize=(4.6 * len(several), 3.4), squeeze=False, sharey=True)
    for panel, tables in zip(panels[0], several, strict=True):
        places = range(len(tables.budgets))
        for arm in tables.arms:
            found = [mean_interval(list(tables.right(arm, tokens).values())) for tokens in tables.budgets]
            below = [one.value - (one.value if one.low is None else one.low) for one in found]
            above = [(one.value if one.high is None else one.high) - one.value for one in found]
            panel.errorbar(places, [one.value for one in found], [below, above], marker="o", capsize=3, label=arm)
        panel.set(title=tables.mode, xlabel="visual tokens", ylim=(-0.03, 1.03))
        panel.set_xticks(places, map(str, tables.budgets))
    panels[0][0].set_ylabel("answers that are right")
    panels[0][0].legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def plot_density(histories: dict[str, list[History]], path: Path) -> None:
    """Evidence recall and precision in H1 by step, a line an arm, the seeds' mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(11, 3.2))
    titles = {"h1_recall": "evidence in H1 (recall)", "h1_precision": "H1 lines that are evidence", "augM": "reward T_augM"}
    for panel, (key, title) in zip(panels, titles.items(), strict=True):
        for arm, several in histories.items():
            steps = [point["step"] for point in several[0].curve]
            means = [fmean(one.curve[at][key] for one in several) for at in range(len(steps))]
            panel.plot(steps, means, label=arm)
        panel.set(title=title, xlabel="step", ylim=(0, 1.02))
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
