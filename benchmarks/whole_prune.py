# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A whole `prune()` at true size, random weights, with the defaults. Run with `python -m benchmarks.whole_prune`.

Prints the seconds of each part, the scores, and the most memory beyond the weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.search import find

from .models import WINDOW, add_arguments, make_model
from .timing import parse_arguments


class TimedPruner(MoEPruner):
    """Keeps the seconds of each stage, the wait for the device included."""

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, **keywords)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        torch.cuda.synchronize()
        start = time.perf_counter()
        yield
        torch.cuda.synchronize()
        self.seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {self.seconds[name]} s", flush=True)

    def _prepare(self, *arguments: Any) -> None:
        with self.timed("data and checks"):
            super()._prepare(*arguments)

    def calibrate(self, *arguments: Any) -> Any:
        with self.timed("calibration"):
            return super().calibrate(*arguments)

    def rank(self) -> Any:
        with self.timed("order"):
            return super().rank()

    def search(self, *arguments: Any) -> Any:
        compare = find.compare_with_uniform

        def timed_comparison(*given: Any) -> Any:
            with self.timed("guard"):
                return compare(*given)

        with self.timed("search and guard"), mock.patch.object(find, "compare_with_uniform", timed_comparison):
            return super().search(*arguments)

    def apply(self, *arguments: Any) -> Any:
        with self.timed("surgery"):
            return super().apply(*arguments)

    def _write(self, *arguments: Any, **keywords: Any) -> Any:
        with self.timed("saving"):
            return super()._write(*arguments, **keywords)


def random_rows(vocab_size: int, windows: int, seed: int) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    return [{"input_ids": row} for row in torch.randint(vocab_size, (windows, WINDOW), generator=generator).tolist()]


def prune(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    model = make_model(name, arguments.layers)
    weights = torch.cuda.memory_allocated()
    config = EvoESAPConfig(sparsity=arguments.sparsity, **json.loads(arguments.options))
    held_out = round(config.search_samples * config.holdout_fraction)
    rows = [
        random_rows(model.config.vocab_size, count, seed)
        for seed, count in enumerate((config.calibration_samples, config.search_samples + held_out))
    ]
    pruner = TimedPruner(model, config)
    torch.cuda.reset_peak_memory_stats()
    folder = tempfile.mkdtemp()
    start = time.perf_counter()
    try:
        pruner.prune(f"{folder}/pruned", *rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    total = round(time.perf_counter() - start, 1)
    result = pruner.result
    return {
        "model": name,
        "device": torch.cuda.get_device_name(),
        "total_s": total,
        "parts_s": pruner.seconds,
        "memory_beyond_weights_gb": round((torch.cuda.max_memory_allocated() - weights) / 1e9, 2),
        "weights_gb": round(weights / 1e9, 1),
        "scores": result.scores,
        "interval": result.interval,
        "stages": [(entry.get("stage"), entry.get("best")) for entry in result.history],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--options", default="{}", help="other options of the configuration, as JSON")
    arguments = parse_arguments(parser)
    logging.basicConfig(level=logging.WARNING)
    for name in arguments.models:
        print(json.dumps(prune(name, arguments)), flush=True)


if __name__ == "__main__":
    main()
