# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What all benchmarks share: a GPU that must be there, timing on it, and the table of results that is kept."""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


RESULTS = Path(__file__).parent / "results.csv"
COLUMNS = "date gpu torch triton transformers what rows vocabulary hidden dtype implementation".split()
COLUMNS += "median_ms p20_ms p80_ms peak_mb".split()

_FLUSH_BYTES = 256 * 2**20
# Clock cycles, about a millisecond, in which the host gets ahead of the device.
_HEAD_START = 2_000_000


@dataclass
class Timing:
    """Milliseconds of device time, and the device memory taken beyond what was held before, in MB (10^6 bytes)."""

    median: float
    p20: float
    p80: float
    peak_mb: float


def parse_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line says; where there is no GPU to measure on, the program ends with a word on it."""
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "The benchmarks measure kernels and need an NVIDIA GPU; torch finds none here.\n")
    return arguments


def measure(functions: dict[str, Callable[[], object]], rounds: int = 20, warm_up: int = 3) -> dict[str, Timing]:
    """Time `functions` in turn, `rounds` times over, each from a cold L2 cache.

    In turn, and in another order each round: under load the clock falls, and it matters what ran just before. Nothing
    waits for the device in between, so that it is not idle while the host prepares the next launch.
    """
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device="cuda")
    peaks: dict[str, float] = {}
    events: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {name: [] for name in functions}
    for name, function in functions.items():
        for _ in range(warm_up):
            function()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 1e6
    names, generator = list(functions), torch.Generator().manual_seed(0)
    for _ in range(rounds):
        for index in torch.randperm(len(names), generator=generator).tolist():
            name = names[index]
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            torch.cuda._sleep(_HEAD_START)
            start.record()
            functions[name]()
            end.record()
            events[name].append((start, end))
    torch.cuda.synchronize()
    timings = {}
    for name, pairs in events.items():
        times = torch.tensor([start.elapsed_time(end) for start, end in pairs])
        timings[name] = Timing(*times.quantile(torch.tensor([0.5, 0.2, 0.8])).tolist(), peak_mb=peaks[name])
    return timings


def product_rate(size: int = 8192) -> float:
    """Operations a second that a large bfloat16 product reaches on this device."""
    left, right = (torch.randn(size, size, device="cuda").bfloat16() for _ in range(2))
    seconds = measure({"product": lambda: left @ right})["product"].median / 1e3
    print(f"a bfloat16 product of {size} x {size}: {2 * size**3 / seconds / 1e12:.0f} TFLOP/s")
    return 2 * size**3 / seconds


def report(timings: dict[str, Timing], unit: str, **sizes: object) -> None:
    """Print a table with times as multiples of that of `unit`, and append its rows to `results.csv`."""
    print(" ".join(f"{name}={value}" for name, value in sizes.items()))
    print(f"{'':44}{'median ms':>10}{'p20':>9}{'p80':>9}{'x':>8}{'peak MB':>10}")
    for name, time in timings.items():
        multiple = time.median / timings[unit].median
        print(f"{name:44}{time.median:10.4f}{time.p20:9.4f}{time.p80:9.4f}{multiple:8.3f}{time.peak_mb:10.1f}")
    print(flush=True)
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        if is_new:
            writer.writeheader()
        for name, time in timings.items():
            times = {"median_ms": time.median, "p20_ms": time.p20, "p80_ms": time.p80}
            times = {key: f"{value:.4f}" for key, value in times.items()}
            writer.writerow(_machine() | sizes | times | {"implementation": name, "peak_mb": f"{time.peak_mb:.1f}"})


def _machine() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "triton", "transformers")}
    return {"date": datetime.date.today().isoformat(), "gpu": torch.cuda.get_device_name()} | versions
