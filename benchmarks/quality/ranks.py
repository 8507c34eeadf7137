# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Rank correlations of each fitness with exact match. Run with `python -m benchmarks.quality.ranks`."""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from .fitnesses import FITNESSES
from .pool import HERE
from .table import markdown


def ranks(values: list[float]) -> list[float]:
    """Ranks of values; equal ones share the mean of theirs."""
    places = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(places):
        stop = start
        while stop < len(places) and values[places[stop]] == values[places[start]]:
            stop += 1
        for place in places[start:stop]:
            found[place] = (start + stop - 1) / 2
        start = stop
    return found


def spearman(first: list[float], second: list[float]) -> float:
    """Correlation of ranks."""
    pairs = [ranks(first), ranks(second)]
    centred = [[value - sum(each) / len(each) for value in each] for each in pairs]
    product = sum(a * b for a, b in zip(*centred))
    sizes = [sum(value * value for value in each) for each in centred]
    return product / (sizes[0] * sizes[1]) ** 0.5


def correlations(path: Path) -> dict[str, dict[str, float]]:
    """By model, the rank correlation of each column with exact match."""
    rows = defaultdict(list)
    with path.open() as file:
        for row in csv.DictReader(file):
            rows[row["model"]].append(row)
    return {
        model: {
            name: spearman(*([float(row[each]) for row in of_model] for each in (name, "exact_match")))
            for name in (*FITNESSES, "acceptance")
        }
        for model, of_model in rows.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=HERE / "fitnesses.csv")
    found = correlations(parser.parse_args().table)
    names = [*FITNESSES, "acceptance"]
    rows = [[model, *(f"{values[name]:.3f}" for name in names)] for model, values in found.items()]
    means = [f"{sum(values[name] for values in found.values()) / len(found):.3f}" for name in names]
    print(markdown(["model", *names], [*rows, ["mean", *means]]))


if __name__ == "__main__":
    main()
