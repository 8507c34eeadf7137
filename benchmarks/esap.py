# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP from two tensors of logits. Run with `python -m benchmarks.esap`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from optimum_evoesap.fitness.esap import esap
from optimum_evoesap.kernels.esap.esap_rows import esap_rows
from optimum_evoesap.kernels.esap.overlap_rows import OverlapRows

from .timing import measure, parse_arguments, report


def two_launches(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """The same kernel in two passes, so that both tensors are read twice from device memory."""
    rows = OverlapRows(teacher.shape[0], teacher, knows_teacher=False)
    rows._phases = lambda device: [(True, False), (False, True)]
    rows.add(0, teacher, student)
    return rows.result().mean()


def liger(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """One minus Liger's total variation distance; it takes probabilities, and makes a gradient too."""
    from liger_kernel.ops.tvd import LigerTVDLossFunction

    probabilities = (logits.float().softmax(-1) for logits in (teacher, student))
    return 1 - LigerTVDLossFunction.apply(*probabilities, None, "batchmean", -100)


def has_liger() -> bool:
    try:
        import liger_kernel.ops.tvd  # noqa: F401
    except ImportError:
        return False
    return True


def functions(teacher: torch.Tensor, student: torch.Tensor) -> dict[str, Callable[[], object]]:
    known = torch.cat([part.float().logsumexp(-1) for part in teacher.split(256)])
    copy, compiled = torch.empty_like(teacher), torch.compile(lambda *logits: esap(*logits, impl="torch"))
    found: dict[str, Callable[[], object]] = {
        # Reads one tensor and writes as much: the bytes of reading both.
        "copy of one": lambda: copy.copy_(teacher),
        "triton": lambda: esap(teacher, student, impl="triton"),
        "triton, teacher's log-sum-exp known": lambda: esap_rows(teacher, student, known, impl="triton"),
        "triton, two launches": lambda: two_launches(teacher, student),
        "torch.compile": lambda: compiled(teacher, student),
        "eager float32": lambda: esap(teacher, student, impl="torch"),
    }
    if has_liger():
        found["liger TVD after float32 softmax"] = lambda: liger(teacher, student)
    return found


def print_errors(teacher: torch.Tensor, student: torch.Tensor) -> None:
    """Root mean square and largest error of the rows against float64."""
    exact = torch.minimum(teacher.double().softmax(-1), student.double().softmax(-1)).sum(-1)
    for impl in ("triton", "torch"):
        error = (esap_rows(teacher, student, impl=impl) - exact).abs()
        print(f"error of {impl}: rms {error.square().mean().sqrt().item():.1e}, largest {error.max().item():.1e}")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[50304, 151936, 49155])
    parser.add_argument("--dtype", default="bfloat16")
    arguments = parse_arguments(parser)
    for vocabulary in arguments.vocabularies:
        torch.manual_seed(0)
        teacher = 2 * torch.randn(arguments.rows, vocabulary, device="cuda", dtype=getattr(torch, arguments.dtype))
        student = teacher + torch.randn_like(teacher)
        print_errors(teacher[:256], student[:256])
        sizes = {"rows": arguments.rows, "vocabulary": vocabulary, "dtype": arguments.dtype}
        report(measure(functions(teacher, student)), "copy of one", what="esap", **sizes)
        del teacher, student


if __name__ == "__main__":
    main()
