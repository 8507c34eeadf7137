# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The study: every method on every trained model, as rows of a table. Run with `python -m benchmarks.quality.study`.

`--models` is the folder that `python -m benchmarks.quality.train` filled. What the table holds already is not run
again, so the study can be done in parts. The most telling runs come first.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .pool import HERE, MODELS, do_all, model_paths
from .run_one import COLUMNS, Run


CRITERIA = ("reap", "esap", "frequency", "ean", "seer", "reconstruction", "auto")
GRADIENT = ("gradient", "gradient_guided", "guided_gradient")


def all_runs() -> list[Run]:
    """The runs of the study in the order of their weight, those of a model together."""
    parts = [
        # The paper's method against ours, and the same with the parts exchanged.
        _grid([0.5], ["broad"], [0], ("reap", "esap"), ("uniform", "evolution", "guided")),
        _grid([0.5], ["broad"], [0], ("esap",), (*GRADIENT, "global")),
        _grid([0.25, 0.75], ["broad"], [0], ("reap", "esap"), ("uniform", "guided")),
        _grid([0.25, 0.75], ["broad"], [0], ("reap",), ("evolution",)),
        _grid([0.25, 0.5, 0.75], ["broad"], [0], CRITERIA, ("uniform", "global")),
        _grid([0.5], ["broad"], [0], CRITERIA, ("guided",)),
        _grid([0.5], ["broad"], [1, 2], ("esap",), ("uniform", "guided")),
        _grid([0.5], ["broad"], [1, 2], ("reap",), ("uniform", "evolution")),
        _grid([0.5], ["narrow search", "narrow"], [0], ("reap", "esap"), ("uniform", "guided")),
        _grid([0.5], ["narrow search"], [0], ("reap",), ("evolution",)),
        _grid([0.25, 0.75], ["broad"], [0], ("esap",), GRADIENT),
        _grid([0.5], ["broad"], [0], CRITERIA, ("evolution",)),
        _grid([0.25, 0.75], ["broad"], [0], ("esap",), ("evolution",)),
        _grid([0.25, 0.75], ["broad"], [0], CRITERIA, ("guided",)),
        _grid([0.25, 0.75], ["broad"], [1, 2], ("esap",), ("uniform", "guided")),
        _grid([0.5], ["broad"], [1, 2], ("reap",), ("guided",)),
        _grid([0.5], ["broad"], [1, 2], ("esap",), (*GRADIENT, "evolution")),
        _grid([0.25, 0.75], ["broad"], [1, 2], ("reap",), ("uniform", "evolution")),
    ]
    return list(dict.fromkeys(run for part in parts for run in part))


def _grid(
    sparsities: list[float],
    data: list[str],
    seeds: list[int],
    criteria: tuple[str, ...],
    strategies: tuple[str, ...],
) -> list[Run]:
    return [
        Run(model, sparsity, each, seed, criterion, strategy)
        for model in MODELS
        for each in data
        for seed in seeds
        for sparsity in sparsities
        for criterion in criteria
        for strategy in strategies
    ]


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """What tells a run from others."""
    return tuple(str(row[name]) for name in ("model", "sparsity", "data", "seed", "criterion", "strategy"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder with the trained models")
    parser.add_argument("--output", type=Path, default=HERE / "study.csv", help="the table; rows are added")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that they share; none by default")
    parser.add_argument("--minutes", type=float, default=60.0, help="what is not done after this time is left")
    parser.add_argument("--only", default="", help="runs whose description holds these words, split at commas")
    parser.add_argument("--orders", type=Path, default=None, help="keep orders here, for runs that share them")
    arguments = parser.parse_args()
    arguments.orders = arguments.orders or Path(tempfile.mkdtemp())
    deadline = time.time() + 60 * arguments.minutes
    known = {key_of(row) for row in read_table(arguments.output)}
    wanted = [run for run in all_runs() if key_of(vars(run)) not in known]
    for words in filter(None, arguments.only.split(",")):
        wanted = [run for run in wanted if words in " ".join(key_of(vars(run)))]
    paths = model_paths(arguments.models)
    tasks = [(run, str(paths[run.model]), str(arguments.orders)) for run in wanted if run.model in paths]
    print(f"{len(known)} runs are known, {len(tasks)} are to be done", flush=True)
    function = f"{__package__}.run_one.run"
    rows = do_all(function, tasks, arguments.processes, arguments.gpus, deadline)
    write_rows(arguments.output, (row for _, row in rows), has_rows=bool(known))


def write_rows(path: Path, rows: Iterator[dict[str, Any]], has_rows: bool) -> None:
    """Add rows to the table as they come."""
    with path.open("a", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        if not has_rows:
            table.writeheader()
        for row in rows:
            table.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )
            file.flush()
            told = f"EM {row['exact_match']:.3f} ESAP {row['esap']:.4f}"
            evaluations = f"{row['order_evaluations']:.0f}+{row['search_evaluations']:.0f} evaluations"
            print(*key_of(row), told, evaluations, f"{row['search_s']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
