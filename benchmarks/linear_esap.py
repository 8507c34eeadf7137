# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP from hidden states, against the products that it must do. Run with `python -m benchmarks.linear_esap`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from unittest.mock import patch

import torch

from optimum_evoesap.kernels.esap import linear_esap
from optimum_evoesap.kernels.esap.esap_rows import esap_rows
from optimum_evoesap.kernels.esap.linear_esap import default_chunk_size, linear_esap_rows
from optimum_evoesap.kernels.implementation import runs_products

from .timing import measure, parse_arguments, report


def functions(rows: int, vocabulary: int, hidden_size: int, chunk_sizes: list[int]) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    weight = (0.03 * torch.randn(vocabulary, hidden_size, device="cuda")).bfloat16()
    teacher = torch.randn(rows, hidden_size, device="cuda").bfloat16()
    student = (teacher + 0.3 * torch.randn_like(teacher)).bfloat16()
    known = torch.cat([(part @ weight.T).float().logsumexp(-1) for part in teacher.split(256)])
    logits = teacher.new_empty(rows, vocabulary)
    compiled = torch.compile(esap_rows)

    def products(size: int) -> None:
        for hidden in (teacher, student):
            for start in range(0, rows, size):
                part = slice(start, start + size)
                torch.mm(hidden[part], weight.T, out=logits[:size][: hidden[part].shape[0]])

    def score(chunk_size: int | None = None, impl: str = "triton") -> torch.Tensor:
        return linear_esap_rows(teacher, student, weight, None, known, chunk_size=chunk_size, impl=impl)

    def compiled_score(size: int) -> None:
        for start in range(0, rows, size):
            part = slice(start, start + size)
            compiled(teacher[part] @ weight.T, student[part] @ weight.T, known[part], impl="torch")

    def unfused() -> torch.Tensor:
        with patch.object(linear_esap, "runs_products", lambda *operands: False):
            return score()

    form = "fused" if runs_products(teacher, student, weight) else "triton"
    default = default_chunk_size(vocabulary, teacher.dtype, form)
    found: dict[str, Callable[[], object]] = {
        "two products, whole": lambda: products(rows),
        f"two products, chunks of {default}": lambda: products(default),
        f"{form}, chunks of {default} (default)": score,
    }
    for size in chunk_sizes:
        found[f"{form}, chunks of {size}"] = lambda size=size: score(size)
    found["triton, products into memory"] = unfused
    found["triton, teacher's log-sum-exp unknown"] = lambda: linear_esap_rows(teacher, student, weight, impl="triton")
    found["torch, in chunks"] = lambda: score(impl="torch")
    found[f"torch.compile, chunks of {default}"] = lambda: compiled_score(default)
    return found


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[50304, 151936])
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--chunk-sizes", type=int, nargs="*", default=[256, 1536])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--brief", action="store_true", help="only the products and the default, for many rounds")
    arguments = parse_arguments(parser)
    for vocabulary in arguments.vocabularies:
        found = functions(arguments.rows, vocabulary, arguments.hidden, arguments.chunk_sizes)
        if arguments.brief:
            found = {name: found[name] for name in found if name.startswith("two products") or "(default)" in name}
        timings = measure(found, arguments.rounds, 2)
        sizes = {"rows": arguments.rows, "vocabulary": vocabulary, "hidden": arguments.hidden, "dtype": "bfloat16"}
        report(timings, "two products, whole", what="linear_esap", **sizes)


if __name__ == "__main__":
    main()
