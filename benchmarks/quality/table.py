# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The table of the study, read back as averages and differences. Run with `python -m benchmarks.quality.table`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch

from .pool import HERE, MODELS
from .study import read_table


QUESTIONS = 320
NUM_DRAWS = 2000
OURS, PAPER = ("esap", "guided"), ("reap", "evolution")


@dataclass(frozen=True)
class Row:
    """One run of the study.

    Attributes:
        right: For each held-out question 1.0 where it is answered.
        evaluations: What order and search cost together, in scores on all search windows.
    """

    model: str
    sparsity: float
    data: str
    seed: int
    method: tuple[str, str]
    right: torch.Tensor
    esap: float
    uniform_esap: float
    low: float
    high: float
    evaluations: float
    seconds: float

    @classmethod
    def of(cls, row: dict[str, str]) -> Row:
        """From the text of a table."""
        bits = torch.tensor([float(bit) for bit in f"{int(row['right'], 16):0{QUESTIONS}b}"])
        numbers = [float(row[name]) for name in ("esap", "uniform_esap", "low", "high")]
        evaluations = float(row["order_evaluations"]) + float(row["search_evaluations"])
        seconds = float(row["order_s"]) + float(row["search_s"])
        method = (row["criterion"], row["strategy"])
        place = (row["model"], float(row["sparsity"]), row["data"], int(row["seed"]))
        return cls(*place, method, bits, *numbers, evaluations, seconds)


class Study:
    """All rows, by what was varied."""

    def __init__(self, path: Path):
        self.rows = [Row.of(row) for row in read_table(path)]

    def methods(self, sparsity: float, data: str = "broad") -> dict[tuple[str, str], dict[tuple[str, int], Row]]:
        """The rows of each method, by model and seed."""
        found: dict[tuple[str, str], dict[tuple[str, int], Row]] = defaultdict(dict)
        for row in self.rows:
            if (row.sparsity, row.data) == (sparsity, data):
                found[row.method][row.model, row.seed] = row
        return dict(found)


def interval(ours: list[torch.Tensor], others: list[torch.Tensor] | None = None) -> tuple[float, float, float]:
    """Mean exact match, or mean difference of two, with a 95% bootstrap interval over models and questions.

    Args:
        ours: Answers, one tensor for each model and seed.
        others: Answers of the other method for the same.
    """
    table = torch.stack(ours) if others is None else torch.stack(ours) - torch.stack(others)
    generator = torch.Generator().manual_seed(0)
    means = []
    for _ in range(NUM_DRAWS):
        models = torch.randint(len(table), (len(table),), generator=generator)
        questions = torch.randint(table.shape[1], (table.shape[1],), generator=generator)
        means.append(table[models][:, questions].mean())
    low, high = torch.stack(means).quantile(torch.tensor([0.025, 0.975])).tolist()
    return table.mean().item(), low, high


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def table_of_methods(study: Study, sparsity: float, data: str = "broad", seed: int | None = 0) -> str:
    """Every method on every model, the best on average first; of one seed, or the mean over those there are."""
    lines = []
    for method, rows in study.methods(sparsity, data).items():
        chosen = {key: row for key, row in rows.items() if seed is None or key[1] == seed}
        models = [name for name in MODELS if any(model == name for model, _ in chosen)]
        if len(models) < len(MODELS):
            continue
        mean, low, high = interval([row.right for row in chosen.values()])
        by_model = [[row for (model, _), row in chosen.items() if model == name] for name in MODELS]
        cells = [f"{sum(row.right.mean().item() for row in rows) / len(rows):.3f}" for rows in by_model]
        esap = sum(row.esap for row in chosen.values()) / len(chosen)
        cost = sum(row.evaluations for row in chosen.values()) / len(chosen)
        lines.append((mean, [*method, f"{mean:.3f} ({low:.3f} to {high:.3f})", *cells, f"{esap:.4f}", f"{cost:.0f}"]))
    header = ["order", "allocation", "exact match", *MODELS, "held-out ESAP", "evaluations"]
    return markdown(header, [cells for _, cells in sorted(lines, key=lambda line: -line[0])])


def table_of_differences(study: Study, sparsity: float, seed: int | None = 0) -> str:
    """Ours minus every other method, over the models and seeds that both have."""
    methods = study.methods(sparsity)
    lines = []
    for method, rows in methods.items():
        common = [key for key in rows if key in methods.get(OURS, {}) and seed in (None, key[1])]
        if method == OURS or len({model for model, _ in common}) < len(MODELS):
            continue
        mean, low, high = interval([methods[OURS][key].right for key in common], [rows[key].right for key in common])
        lines.append((mean, [*method, str(len(common)), f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}"]))
    header = ["order", "allocation", "pairs", "ours minus this", "95% interval"]
    return markdown(header, [cells for _, cells in sorted(lines)])


def table_of_costs(study: Study, sparsity: float) -> str:
    """Ours beside the paper's method, run by run: held-out ESAP, and tokens through layers."""
    methods, lines = study.methods(sparsity), []
    for key, paper in methods.get(PAPER, {}).items():
        ours = methods.get(OURS, {}).get(key)
        if ours is not None:
            shares = [f"{ours.evaluations:.0f}", f"{paper.evaluations:.0f}"]
            shares.append(f"1/{paper.evaluations / ours.evaluations:.1f}")
            scores = [f"{row.esap:.4f}" for row in (ours, paper)]
            lines.append([*map(str, key), *scores, *shares])
    return markdown(["model", "seed", "ESAP, ours", "the paper", "evaluations, ours", "the paper", "share"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=HERE / "study.csv")
    arguments = parser.parse_args()
    study = Study(arguments.table)
    for sparsity in (0.25, 0.5, 0.75):
        print(f"## {sparsity:.0%}, seed 0\n\n{table_of_methods(study, sparsity)}")
        print(f"Ours minus others, seed 0:\n\n{table_of_differences(study, sparsity)}")
        print(f"All seeds:\n\n{table_of_differences(study, sparsity, None)}")
        print(f"Costs:\n\n{table_of_costs(study, sparsity)}")
    for data in ("narrow search", "narrow"):
        print(f"## 50%, {data}\n\n{table_of_methods(study, 0.5, data)}")


if __name__ == "__main__":
    main()
