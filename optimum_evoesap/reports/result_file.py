# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the fields of an `evoesap_result.json` may hold, beyond the types of [`PruningResult`]."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Annotated, Any, Literal, TypedDict

from msgspec import UNSET, Meta, Struct, UnsetType

from ..reading import Count, Positive, fit


# Both are written into code that readers of the card run.
ClassName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class _Domain(Struct):
    best: float
    uniform: float
    interval: tuple[float, float] | None
    found: float | UnsetType = UNSET


class _Data(Struct):
    description: str | UnsetType = UNSET
    fingerprint: str | UnsetType = UNSET
    sequences: Count | UnsetType = UNSET
    tokens: Count | UnsetType = UNSET
    scored_tokens: Count | UnsetType = UNSET


class _Run(Struct):
    result: str | None
    revision: str | None
    base_model: str | None
    base_weights: str | None
    dtype: str | None
    versions: dict[str, str]


class _Fields(Struct):
    sparsity: Annotated[float, Meta(ge=0, le=1)]
    budget: Count
    sparse_layers: Annotated[list[Count], Meta(min_length=1)]
    num_experts: list[Positive]
    allocation: list[Count]
    kept_experts: dict[Count, Annotated[list[Count], Meta(min_length=1)]]
    protected_experts: dict[Count, list[Count]]
    scores: dict[str, float]
    is_guarded: bool
    interval: tuple[float, float] | None
    domains: dict[str, _Domain]
    goal: Literal["mean", "worst"]
    seed: Annotated[int, Meta(ge=0)]
    parameters: dict[str, Count]
    size_in_bytes: dict[str, Count]
    data: dict[str, _Data]
    model_loader: ClassName
    tokenizer_loader: ClassName


class _Applied(TypedDict):
    applied_from: _Run


def check_fields(result: Any) -> None:
    """Refuse a record whose fields are out of range or contradict each other.

    Args:
        result: The record, a [`PruningResult`].

    Raises:
        ValueError: Names the field.
    """
    record = fit({field.name: getattr(result, field.name) for field in fields(result)}, _Fields)
    if result.applied_from:
        fit({"applied_from": result.applied_from}, _Applied)
    _check_layers(record)
    for layer, experts in record.kept_experts.items():
        _check_experts(f"kept_experts[{layer}]", layer, experts, record)
    for layer, experts in record.protected_experts.items():
        name = f"protected_experts[{layer}]"
        _check_experts(name, layer, experts, record)
        lost = sorted(set(experts) - set(record.kept_experts[layer]))
        if lost:
            raise ValueError(f"{name} names the experts {lost[:4]}, which kept_experts[{layer}] does not keep")


def _check_layers(record: _Fields) -> None:
    layers = record.sparse_layers
    if any(first >= second for first, second in pairwise(layers)):
        raise ValueError("sparse_layers names layers twice or not in their order")
    for name in ("num_experts", "allocation"):
        if len(getattr(record, name)) != len(layers):
            raise ValueError(
                f"{name} has {len(getattr(record, name))} entries, and sparse_layers {len(layers)}: one each"
            )
    if sorted(record.kept_experts) != layers:
        raise ValueError("kept_experts has other layers than sparse_layers")
    for layer, total, removed in zip(layers, record.num_experts, record.allocation):
        kept = len(record.kept_experts[layer])
        if kept != total - removed:
            raise ValueError(
                f"it contradicts itself: kept_experts keeps {kept} of {total} experts of layer {layer}, of which "
                f"allocation removes {removed}"
            )
    if record.scores and record.is_guarded != ("found" in record.scores):
        raise ValueError(f"is_guarded is {record.is_guarded}, which scores contradict: {', '.join(record.scores)}")
    if sum(record.allocation) != record.budget:
        raise ValueError(f"budget is {record.budget}, and allocation removes {sum(record.allocation)} experts")
    if abs(record.sparsity - record.budget / sum(record.num_experts)) > 1e-6:
        raise ValueError(f"sparsity is {record.sparsity}, not budget over the sum of num_experts")


def _check_experts(name: str, layer: int, experts: list[int], record: _Fields) -> None:
    if layer not in record.kept_experts:
        raise ValueError(f"{name} is of a layer that sparse_layers does not name")
    total = record.num_experts[record.sparse_layers.index(layer)]
    if len(set(experts)) != len(experts) or max(experts, default=0) >= total:
        raise ValueError(f"{name} is {experts}, and the experts of that layer are numbered from 0 to {total - 1}")
