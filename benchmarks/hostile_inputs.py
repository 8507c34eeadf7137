# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Read a great many damaged and hostile inputs, and count what came of them.

    python -m benchmarks.hostile_inputs [--examples 20000] [--kinds result config] [--seed 1]

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

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from optimum_evoesap.reports.text import table
from tests.hostile.kinds import KINDS
from tests.hostile.promise import Broken, outcome
from tests.hostile.registry import Kind


def count(kind: Kind, examples: int, number: int) -> tuple[Counter, dict[str, str], float, float]:
    """How many inputs came to which end, an example of each failure, and the seconds of all and of the slowest."""
    found: Counter = Counter()
    broken: dict[str, str] = {}
    slowest = 0.0

    @seed(number)
    @settings(
        database=None,
        deadline=None,
        max_examples=examples,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def read(data: st.DataObject) -> None:
        nonlocal slowest
        value = data.draw(kind.inputs())
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            try:
                found[outcome(lambda: kind.read(value, Path(folder)), kind.names, Path(folder))] += 1
            except Broken as error:
                found["broken"] += 1
                message = str(error).replace(folder, "FOLDER")
                broken.setdefault(re.sub(r"[0-9]+|'[^']*'", "#", message)[:90], f"{message}\n    {value!r:.1500}")
            slowest = max(slowest, time.perf_counter() - began)

    began = time.perf_counter()
    read()
    return found, broken, time.perf_counter() - began, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20_000, help="Inputs of each kind.")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    rows = []
    for name in args.kinds:
        found, broken, seconds, slowest = count(KINDS[name], args.examples, args.seed)
        ends = [str(found[end]) for end in ("refused", "read", "broken")]
        rows.append([name, str(sum(found.values())), *ends, f"{seconds:.0f} s", f"{slowest:.2f} s"])
        for example in broken.values():
            print(f"{name}: {example}\n")
        print(table(rows, ["kind", "inputs", "refused", "read", "broken", "time", "slowest"]), flush=True)


if __name__ == "__main__":
    main()
