# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""sum_v min(p_v, q_v) from final hidden states, a chunk of positions at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..implementation import Implementation, choose_implementation, runs_products
from .esap_rows import esap_rows
from .output_weights import OutputWeights


# Bytes of the logits of a chunk. Larger chunks read the weight less often; see benchmarks/NOTES.md.
_CHUNK_BYTES = 236 * 10**6
# The same for the torch form: bytes of the float32 copies of a logit, teacher and student together, and of a chunk.
_TORCH_BYTES_PER_LOGIT = 24
_TORCH_CHUNK_BYTES = 768 * 10**6
# Chunks that are larger than a tile of the matrix product are whole tiles.
_TILE = 128
# More hidden states than these do not stay in the cache while the columns of the weight are read.
_LARGEST_FUSED_CHUNK = 4096


def linear_esap_rows(
    teacher_hidden: torch.Tensor,
    student_hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    teacher_log_sum_exp: torch.Tensor | None = None,
    *,
    logit_scale: float = 1.0,
    soft_cap: float | None = None,
    chunk_size: int | None = None,
    impl: Implementation = "auto",
) -> torch.Tensor:
    """sum_v min(p_v, q_v) at each position, with never more logits in memory than those of one chunk (in whole tiles).

    Logits are made in the dtype of the hidden states, as the model itself makes them; the rest is float32.

    Args:
        teacher_hidden: Hidden states that enter the output layer, shape (positions, hidden size).
        student_hidden: The same of the candidate.
        weight: Weight of the output layer, shape (vocabulary, hidden size).
        bias: Its bias, shape (vocabulary,).
        teacher_log_sum_exp: The teacher's log-sum-exp where it is known, shape (positions,), float32.
        logit_scale: Factor on the logits.
        soft_cap: Logits become `soft_cap * tanh(logits / soft_cap)`.
        chunk_size: Positions at once. `None` takes as many as fit in about 240 MB.
        impl: `"torch"`, `"triton"`, or `"auto"`: Triton on CUDA where no gradient is asked for.

    Returns:
        Float32 of shape (positions,).

    Raises:
        ValueError: Shapes or dtypes do not fit together, or `impl` is unknown or cannot do this.
    """
    output, known = OutputWeights(weight, bias, logit_scale, soft_cap), teacher_log_sum_exp
    _check_operands(teacher_hidden, student_hidden, output, known)
    form = _choose_form(impl, teacher_hidden, student_hidden, output, known)
    positions = teacher_hidden.shape[0]
    if positions == 0:
        return teacher_hidden.new_zeros(0, dtype=torch.float32)
    size = chunk_size or default_chunk_size(weight.shape[0], teacher_hidden.dtype, form)
    parts = [slice(start, min(start + size, positions)) for start in range(0, positions, size)]
    return _FORMS[form](teacher_hidden, student_hidden, output, known, parts)


def default_chunk_size(vocabulary: int, dtype: torch.dtype, form: str) -> int:
    """Positions at once, from the bytes that their logits take.

    Args:
        vocabulary: Number of logits at a position.
        dtype: That of the hidden states.
        form: `"torch"`, `"triton"`, or `"fused"` into the products.
    """
    if form == "torch":
        return max(1, _TORCH_CHUNK_BYTES // (_TORCH_BYTES_PER_LOGIT * vocabulary))
    tensors, largest = (1, _LARGEST_FUSED_CHUNK) if form == "fused" else (2, None)
    size = max(1, _CHUNK_BYTES // (tensors * dtype.itemsize * vocabulary))
    return min(size // _TILE * _TILE or size, largest or size)


def _choose_form(
    impl: str, teacher: torch.Tensor, student: torch.Tensor, output: OutputWeights, known: torch.Tensor | None
) -> str:
    form = choose_implementation(impl, teacher, student, output.weight, output.bias, known)
    if form == "triton" and known is not None and runs_products(teacher, student, output.weight):
        return "fused"
    return form


def _check_operands(
    teacher: torch.Tensor, student: torch.Tensor, output: OutputWeights, known: torch.Tensor | None
) -> None:
    if teacher.shape != student.shape or teacher.dim() != 2:
        raise ValueError(
            f"teacher_hidden {tuple(teacher.shape)} and student_hidden {tuple(student.shape)} must have the same "
            "shape (positions, hidden size)."
        )
    positions, hidden_size = teacher.shape
    vocabulary = len(output.weight)
    for name, tensor, words, shape in (
        ("weight", output.weight, "(vocabulary, hidden size)", (vocabulary, hidden_size)),
        ("bias", output.bias, "(vocabulary,)", (vocabulary,)),
        ("teacher_log_sum_exp", known, "(positions,)", (positions,)),
    ):
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} {tuple(tensor.shape)} must have the shape {words}, here {shape}.")
    operands = [each for each in (teacher, student, output.weight, output.bias) if each is not None]
    if len({each.dtype for each in operands}) > 1:
        raise ValueError(
            f"Hidden states, weight and bias must have one dtype; they have {[str(each.dtype) for each in operands]}."
        )


def _torch_rows(
    teacher_hidden: torch.Tensor,
    student_hidden: torch.Tensor,
    output: OutputWeights,
    known: torch.Tensor | None,
    parts: list[slice],
) -> torch.Tensor:
    rows = []
    for part in parts:
        teacher, student = (
            torch.nn.functional.linear(hidden[part], output.weight, output.bias)
            for hidden in (teacher_hidden, student_hidden)
        )
        part_known = None if known is None else known[part]
        scale, soft_cap = output.logit_scale, output.soft_cap
        rows.append(esap_rows(teacher, student, part_known, logit_scale=scale, soft_cap=soft_cap, impl="torch"))
    return torch.cat(rows)


@torch.no_grad()
def _triton_rows(
    teacher_hidden: torch.Tensor,
    student_hidden: torch.Tensor,
    output: OutputWeights,
    known: torch.Tensor | None,
    parts: list[slice],
) -> torch.Tensor:
    """Both products into memory, then one kernel that reads them once."""
    from .overlap_rows import OverlapRows

    vocabulary, size = output.weight.shape[0], parts[0].stop
    # Rows of logits start at multiples of 32 bytes, whatever the vocabulary.
    logits = teacher_hidden.new_empty(2 * size, -(-vocabulary // 16) * 16)[:, :vocabulary]
    rows = OverlapRows(teacher_hidden.shape[0], logits, known is not None, num_chunks=len(parts))
    for part in parts:
        count = part.stop - part.start
        teacher, student = logits[:count], logits[count : 2 * count]
        # Teacher and student in one product: the weight is read once for both.
        both = torch.cat((teacher_hidden[part], student_hidden[part]))
        if output.bias is None:
            torch.mm(both, output.weight.T, out=logits[: 2 * count])
        else:
            torch.addmm(output.bias, both, output.weight.T, out=logits[: 2 * count])
        part_known = None if known is None else known[part]
        rows.add(part.start, teacher, student, part_known, None, output.logit_scale, output.soft_cap)
    return rows.result()


@torch.no_grad()
def _fused_rows(
    teacher_hidden: torch.Tensor,
    student_hidden: torch.Tensor,
    output: OutputWeights,
    known: torch.Tensor,
    parts: list[slice],
) -> torch.Tensor:
    """The overlap inside the products; only the student's logits are written to memory."""
    from .linear_esap_launch import FusedProducts

    products = FusedProducts(output, chunk_size=parts[0].stop)
    return torch.cat([products.overlap(teacher_hidden[part], student_hidden[part], known[part]) for part in parts])


_FORMS: dict[str, Callable[..., torch.Tensor]] = {"torch": _torch_rows, "triton": _triton_rows, "fused": _fused_rows}
