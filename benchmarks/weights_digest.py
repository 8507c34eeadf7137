# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the digest of all weights costs, by which a run knows its saved work: `python -m benchmarks.weights_digest`.

Beside it a plain sum over the same bits: what it takes to read them once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from optimum_evoesap.run.fingerprint import tensors_digest


def seconds(function: Callable[[], object], device: torch.device, rounds: int) -> float:
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    # Tensors as large as the fused experts of a layer of Qwen3-30B-A3B.
    size = 128 * 768 * 2048
    count = max(1, round(arguments.gigabytes * 1e9 / (2 * size)))
    tensors = {str(index): torch.randn(size, device=device, dtype=torch.bfloat16) for index in range(count)}
    gigabytes = count * size * 2 / 1e9
    digest = seconds(lambda: tensors_digest(tensors), device, arguments.rounds)
    read = seconds(lambda: [each.view(torch.int64).sum() for each in tensors.values()], device, arguments.rounds)
    print(f"{gigabytes:.1f} GB on {device}: digest {digest:.2f} s ({gigabytes / digest:.1f} GB/s), ", end="")
    print(f"{digest / read:.1f} x a plain sum; the 61 GB of a model of 30B take {61 / gigabytes * digest:.1f} s")


if __name__ == "__main__":
    main()
