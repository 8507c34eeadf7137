# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Two runs on the bundled model, each killed in its search and gone on with, to tell whether a change keeps every bit.

    python -m benchmarks.reference_runs record before.json
    python -m benchmarks.reference_runs compare before.json

Record before a change and compare after it, on one machine: sums of floats differ from processor to processor.
`benchmarks/reference_runs.json` was recorded before scores were kept window by window. Since then sums are taken in
another order, and means may differ in the last of their 53 bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner


TINY_MOE = Path(__file__).parents[1] / "examples" / "tiny_moe"
RUNS: dict[str, dict[str, Any]] = {
    "reap-esap": {"criterion": "reap", "fitness": "esap", "sparsity": 0.5},
    "seer-kl": {"criterion": "seer", "fitness": "kl", "sparsity": 0.375, "seed": 7},
}


def make_pruner(name: str) -> MoEPruner:
    config = EvoESAPConfig(
        preset="paper",
        calibration_dataset=str(TINY_MOE / "data" / "calibration.jsonl"),
        search_dataset=str(TINY_MOE / "data" / "search.jsonl"),
        calibration_samples=16,
        search_samples=8,
        sequence_length=128,
        batch_size=4,
        population_size=6,
        num_elites=2,
        generations=8,
        **RUNS[name],
    )
    return MoEPruner.from_pretrained(TINY_MOE / "checkpoint", config, dtype=torch.float32)


def run_in_two_parts(name: str, folder: Path) -> dict[str, Any]:
    """Kill the run once its search has saved something, go on with it, and tell all that it found."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.reference_runs", "run", name, str(folder)])
    while not list((folder / ".evoesap").glob("search*.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    pruner = make_pruner(name)
    pruner.prune(folder)
    assert pruner.result is not None
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    found = {"allocation": pruner.allocation, "kept_experts": {str(k): v for k, v in pruner.kept_experts.items()}}
    return found | {"scores": pruner.scores, "history": pruner.history, "weights": weights}


def with_every_bit(value: Any) -> Any:
    """Floats as hexadecimal text."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {name: with_every_bit(item) for name, item in value.items()}
    return [with_every_bit(item) for item in value] if isinstance(value, list) else value


def difference(one: Any, other: Any) -> float:
    """The largest relative difference of two floats in the same place; infinite where anything else differs."""
    if isinstance(one, str) and isinstance(other, str) and "0x" in one and "0x" in other:
        first, second = float.fromhex(one), float.fromhex(other)
        return abs(first - second) / max(abs(first), abs(second), 1e-300)
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((difference(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(difference, one, other), default=0.0)
    return 0.0 if one == other else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["record", "compare", "run"])
    parser.add_argument("arguments", nargs="+")
    given = parser.parse_args()
    if given.action == "run":
        make_pruner(given.arguments[0]).prune(given.arguments[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        found = with_every_bit({name: run_in_two_parts(name, Path(folder, name)) for name in RUNS})
    file = Path(given.arguments[0])
    if given.action == "record":
        file.write_text(json.dumps(found, indent=1) + "\n")
        return
    expected = json.loads(file.read_text())
    places = [(name, key) for name, run in expected.items() for key in run if found[name][key] != run[key]]
    for name, key in places:
        print(f"different: {key} of {name}, by at most {difference(expected[name][key], found[name][key]):.1e}")
    if not places:
        print("every bit is the same")
    sys.exit(bool(places))


if __name__ == "__main__":
    main()
