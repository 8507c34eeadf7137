# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Read a great many damaged and hostile inputs, and count what came of them.

    python -m benchmarks.hostile_inputs [--examples 20000] [--kinds result config] [--first 0]

Each has to be refused with an error that says where it is wrong, or read rightly, in time and without foreign code.
Of what broke the promise, one example a message is shown.
"""

from __future__ import annotations

import argparse
import logging
import re
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random

from optimum_evoesap.reports.text import table
from tests.hostile.kinds import KINDS
from tests.hostile.promise import Broken, outcome


# So that a run that is broken off has counted something.
REPORTED = 500


def count(name: str, first: int, examples: int) -> list[str]:
    """Read the inputs of a kind from a number on, and show examples of what fails; the row of the table."""
    kind, found, slowest = KINDS[name], Counter(), 0.0
    shown: set[str] = set()
    began = time.perf_counter()
    for number in range(first, first + examples):
        made = kind.make(Random(f"{name} {number}"))
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            try:
                found[outcome(lambda made=made: kind.read(made, Path(folder)), kind.names, Path(folder))] += 1
            except Broken as error:
                found["broken"] += 1
                message = str(error).replace(folder, "FOLDER")
                alike = re.sub(r"[0-9]+|'[^']*'", "#", message)[:90]
                if alike not in shown:
                    print(f"{name} {number}: {message}\n    {made!r:.1500}\n", flush=True)
                shown.add(alike)
            slowest = max(slowest, time.perf_counter() - start)
        if found.total() % REPORTED == 0:
            print(f"{name}: {found.total()} inputs up to number {number}, {dict(found)}", flush=True)
    ends = [str(found[end]) for end in ("refused", "read", "broken")]
    return [name, str(found.total()), *ends, f"{time.perf_counter() - began:.0f} s", f"{slowest:.2f} s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20_000, help="Inputs of each kind.")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--first", type=int, default=0, help="Number of the first input: each number makes its own.")
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    rows = [count(name, args.first, args.examples) for name in args.kinds]
    print(table(rows, ["kind", "inputs", "refused", "read", "broken", "time", "slowest"]), flush=True)


if __name__ == "__main__":
    main()
