# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The figures of the study from its tables. Run with `python -m benchmarks.quality.figures`; needs matplotlib."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib


matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from .fitnesses import FITNESSES  # noqa: E402
from .pool import HERE, MODELS  # noqa: E402
from .ranks import correlations  # noqa: E402
from .table import OURS, PAPER, Study, interval  # noqa: E402


# Colours of Okabe and Ito, which colour-blind people tell apart, on a ground that suits light and dark pages.
COLOURS = {"ours": "#0072B2", "paper": "#D55E00", "other": "#777777", "full": "#009E73"}
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "evoesap"}
SHOWN = {
    ("reap", "uniform"): "REAP, uniform",
    PAPER: "REAP, evolution (the paper)",
    ("reap", "guided"): "REAP, guided",
    ("esap", "uniform"): "ESAP order, uniform",
    ("esap", "evolution"): "ESAP order, evolution",
    ("esap", "gradient"): "gradient",
    OURS: "ESAP order, guided (ours)",
}


def colour_of(method: tuple[str, str]) -> str:
    return COLOURS[{OURS: "ours", PAPER: "paper"}.get(method, "other")]


def answers(study: Study, path: Path) -> None:
    """Exact match of each method at each sparsity: the mean with its interval, and a dot for each model."""
    sparsities = [0.25, 0.5, 0.75]
    figure, axes = pyplot.subplots(1, len(sparsities), figsize=(9.5, 3.2), sharey=True)
    for axis, sparsity in zip(axes, sparsities):
        methods = study.methods(sparsity)
        for place, method in enumerate(reversed(SHOWN)):
            rows = [row for (_, seed), row in methods.get(method, {}).items() if seed == 0]
            if len(rows) < len(MODELS):
                continue
            mean, low, high = interval([row.right for row in rows])
            points = [row.right.mean().item() for row in rows]
            axis.plot(points, [place] * len(rows), "o", color=colour_of(method), alpha=0.3, markersize=4)
            axis.plot([low, high], [place, place], color=colour_of(method), linewidth=2)
            axis.plot([mean], [place], "D", color=colour_of(method), markersize=6)
        axis.set_title(f"{sparsity:.0%} of the experts removed", fontsize=9)
        axis.set_xlabel("exact match")
        axis.set_xlim(0, 1.02)
        axis.set_yticks(range(len(SHOWN)), list(SHOWN.values())[::-1])
        axis.grid(axis="x", alpha=0.3)
    save(figure, path)


def costs(study: Study, path: Path) -> None:
    """Exact match over what it cost at 50%, one dot a run."""
    figure, axis = pyplot.subplots(figsize=(5.5, 3.4))
    for method, name in SHOWN.items():
        rows = [row for row in study.methods(0.5).get(method, {}).values() if row.evaluations > 0]
        if rows:
            marker = {OURS: "D", PAPER: "s"}.get(method, "o")
            axis.plot([row.evaluations for row in rows], [row.right.mean().item() for row in rows], marker,
                      color=colour_of(method), alpha=0.6, markersize=5, label=name, linestyle="none")  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlabel("evaluations (scores on all search windows), order included")
    axis.set_ylabel("exact match at 50%")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, loc="lower right")
    save(figure, path)


def fitness_ranks(table: Path, path: Path) -> None:
    """Rank correlation of each fitness with exact match, one dot a model."""
    found = correlations(table)
    figure, axis = pyplot.subplots(figsize=(5.5, 2.4))
    names = [*FITNESSES, "acceptance"]
    for place, name in enumerate(reversed(names)):
        values = [each[name] for each in found.values()]
        axis.plot(values, [place] * len(values), "o", color=COLOURS["ours"], alpha=0.4, markersize=5)
        axis.plot([sum(values) / len(values)], [place], "D", color=COLOURS["ours"], markersize=7)
    axis.set_yticks(range(len(names)), names[::-1])
    axis.set_xlabel("Spearman's rank correlation with exact match")
    axis.grid(axis="x", alpha=0.3)
    save(figure, path)


def save(figure: pyplot.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the figures")
    arguments = parser.parse_args()
    pyplot.rcParams.update(STYLE)
    study = Study(HERE / "study.csv")
    answers(study, arguments.output / "answers.svg")
    costs(study, arguments.output / "costs.svg")
    fitness_ranks(HERE / "fitnesses.csv", arguments.output / "fitnesses.svg")


if __name__ == "__main__":
    main()
