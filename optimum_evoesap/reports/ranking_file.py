# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What an `evoesap_ranking.json` holds."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from ..reading import Amount, Count, Finite


class StatisticsEntry(Struct):
    """[`LayerStatistics`], each sum as a list with one number for each expert; see there for the fields."""

    routed_tokens: list[Count]
    norm_sum: list[Amount]
    weight_sum: list[Finite]
    weighted_norm_sum: list[Finite]
    # Not finite where the gate weights of a token sum to zero; the one criterion that is made of it says so.
    renormalised_norm_sum: list[float]
    squared_norm_sum: list[Amount]
    norm_max: list[Amount]


class LayerEntry(Struct):
    """One sparse layer.

    Attributes:
        order: Its experts from the first to go to the last.
        scores: What the criterion gave, by expert.
        statistics: Sums over the calibration data.
    """

    order: Annotated[list[Count], Meta(min_length=1)]
    scores: list[Finite]
    statistics: StatisticsEntry


class RankingFile(Struct):
    """The file; see [`Ranking`] for the fields.

    Attributes:
        num_tokens: Tokens that the statistics were taken from.
        layers: The sparse layers, by decoder-layer index.
    """

    criterion: str
    base_model: str | None
    base_weights: str
    dtype: str
    model_type: str
    data: dict[str, Any]
    versions: dict[str, str]
    num_tokens: Count
    layers: Annotated[dict[Count, LayerEntry], Meta(min_length=1)]


def check_layers(ranking: RankingFile) -> None:
    """Refuse a ranking whose lists are not of the same experts.

    Args:
        ranking: The content of the file.

    Raises:
        ValueError: Names the field.
    """
    for layer, entry in ranking.layers.items():
        total = len(entry.order)
        if sorted(entry.order) != list(range(total)):
            raise ValueError(
                f"layers[{layer}].order is {entry.order}, which does not name each of {total} experts once"
            )
        sums = {f"statistics.{name}": getattr(entry.statistics, name) for name in entry.statistics.__struct_fields__}
        for name, values in {"scores": entry.scores, **sums}.items():
            if len(values) != total:
                raise ValueError(f"layers[{layer}].{name} has {len(values)} numbers, and order {total} experts")
