# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What changes between models built with one, two and three times as many experts: axes, lists, integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class ExpertAxis:
    """An axis of a parameter or buffer along which experts lie: `rows` each, then `extra` rows that always stay.

    Attributes:
        axis: Number of the axis.
        rows: Entries of one expert.
        extra: Entries after those of all experts.
    """

    axis: int
    rows: int = 1
    extra: int = 0


@dataclass(frozen=True)
class ExpertCount:
    """An integer attribute of a module that counts experts: `rows * experts + extra`."""

    attribute: str
    rows: int = 1
    extra: int = 0


def moving_axes(models: list[PreTrainedModel], count: int) -> dict[str, list[ExpertAxis]]:
    """The expert axes of tensors.

    Args:
        models: The model on the meta device with `count`, 2 `count` and 3 `count` experts.
        count: Experts of the first of them.

    Returns:
        Axes by full tensor name.
    """
    shapes = [{n: tuple(t.shape) for n, t in named_tensors(model, remove_duplicate=False)} for model in models]
    axes: dict[str, list[ExpertAxis]] = {}
    for name, shape in shapes[0].items():
        sizes = [each.get(name, ()) for each in shapes]
        for axis in range(len(shape)):
            growth = affine([size[axis] for size in sizes if len(size) == len(shape)], count)
            if growth is not None:
                axes.setdefault(name, []).append(ExpertAxis(axis, *growth))
    return axes


def growing_lists(models: list[PreTrainedModel], count: int) -> list[str]:
    """The module lists with one module per expert.

    Args:
        models: The model on the meta device with `count`, 2 `count` and 3 `count` experts.
        count: Experts of the first of them.

    Returns:
        Full names of the lists.
    """
    lengths = [{n: len(m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList)} for model in models]
    return [name for name in lengths[0] if affine([each.get(name) for each in lengths], count) == (1, 0)]


def moving_counts(models: list[PreTrainedModel], count: int) -> dict[str, list[ExpertCount]]:
    """The integer attributes that count experts.

    Args:
        models: The model on the meta device with `count`, 2 `count` and 3 `count` experts.
        count: Experts of the first of them.

    Returns:
        Attributes by full module name.
    """
    modules = [dict(model.named_modules()) for model in models]
    counts: dict[str, list[ExpertCount]] = {}
    for name, module in modules[0].items():
        for attribute, value in vars(module).items():
            if isinstance(value, int) and not isinstance(value, bool):
                values = [getattr(each[name], attribute, None) for each in modules if name in each]
                growth = affine(values, count)
                if growth is not None:
                    counts.setdefault(name, []).append(ExpertCount(attribute, *growth))
    return counts


def affine(values: list[Any], count: int) -> tuple[int, int] | None:
    """How a number grows with the expert count.

    Args:
        values: The number at `count`, 2 `count` and 3 `count` experts.
        count: An expert count.

    Returns:
        `(rows, extra)` if the values are `rows * experts + extra`, with `rows` above 0; otherwise `None`.
    """
    if len(values) != 3 or any(value is None for value in values):
        return None
    step = values[1] - values[0]
    if step <= 0 or step % count or values[2] - values[1] != step:
        return None
    rows = step // count
    return rows, values[0] - rows * count


def named_tensors(model: nn.Module, remove_duplicate: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name.

    Args:
        model: Any module.
        remove_duplicate: Whether a tensor that modules share comes once; otherwise it comes under each of its names.
    """
    yield from model.named_parameters(remove_duplicate=remove_duplicate)
    yield from model.named_buffers(remove_duplicate=remove_duplicate)
