# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What is read of an `evoesap_front.json`, and that the result of each point is the one that it was written with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from ..reading import Count, FileContentError, Positive, read_json
from .result import RESULT_NAME, PruningResult


FRONT_NAME = "evoesap_front.json"
_WHAT, _REMEDY = "the front of a run of optimum-evoesap", "Take the folder as a run wrote it."


class PointEntry(Struct):
    """One point of the file.

    Attributes:
        sparsity: The sparsity that was asked for.
        allocation: Experts removed from each sparse layer.
        scores: Fitness by name.
        checkpoint_bytes: Bytes of the tensors of its checkpoint.
        result: Where its result is, from the folder of the front.
    """

    sparsity: Annotated[float, Meta(gt=0, lt=1)]
    allocation: list[Count]
    scores: dict[str, float]
    checkpoint_bytes: Count
    result: str


class FrontFile(Struct):
    """The file.

    Attributes:
        checkpoint_bytes: Bytes of the tensors of the checkpoint of the unpruned model.
        points: What was found, by sparsity.
    """

    checkpoint_bytes: Positive
    points: Annotated[list[PointEntry], Meta(min_length=1)]


def read_front(directory: Path) -> FrontFile:
    """Read the file of a front.

    Args:
        directory: The folder that the front was saved in.

    Raises:
        FileNotFoundError: There is no such file.
        FileContentError: It is something else.
    """
    return read_json(directory / FRONT_NAME, FrontFile, _WHAT, _REMEDY, _check_points)


def read_point(directory: Path, point: PointEntry) -> PruningResult:
    """Read the result of a point.

    Args:
        directory: The folder that the front was saved in.
        point: The point.

    Raises:
        FileNotFoundError: It is not there.
        FileContentError: It is something else, or the result of another run.
    """
    path = directory / point.result
    result = PruningResult.from_pretrained(path)
    # NaN equals nothing, so the scores are compared as they are written.
    if result.allocation != point.allocation or repr(result.scores) != repr(point.scores):
        raise FileContentError(f"{path} is not the result that {FRONT_NAME} beside it was written with. {_REMEDY}")
    for name in ("before", "after"):
        if not result.parameters.get(name):
            raise FileContentError(f"{path} is no point of a front: parameters has no field `{name}`. {_REMEDY}")
    return result


def point_folder(sparsity: float) -> str:
    """The folder of the result of a point, inside that of the front.

    Args:
        sparsity: The sparsity that was asked for.
    """
    return f"{sparsity:g}"


def _check_points(front: FrontFile) -> None:
    for position, point in enumerate(front.points):
        expected = f"{point_folder(point.sparsity)}/{RESULT_NAME}"
        if point.result != expected:
            raise ValueError(f"points[{position}].result is {point.result!r}, and {expected} is its place")
    sparsities = [point.sparsity for point in front.points]
    if len(set(map(point_folder, sparsities))) < len(sparsities):
        raise ValueError(f"points names a sparsity twice: {sparsities}")
