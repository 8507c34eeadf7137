# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap inspect --measure`: how prunable a model is, from a few windows of text."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from ..reports.text import score, share, table, whole_share
from ..search.curves import Curve
from .arguments import add_field_options, add_option, check_given_options, given_options, source_options
from .output import add_loading_options, loading_options


if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from ..reports.prunability import LayerPrunability, Prunability


_FIELDS = (
    *("fitness", "calibration_dataset", "sequence_length", "batch_size", "packing", "scored_tokens", "columns"),
    *("data_split", "data_config", "data_revision", "min_experts", "keep", "seed"),
)
# Where in a layer its curve is shown.
_SHOWN = (0.25, 0.5, 0.75)


def add_measure_options(group: _ArgumentGroup) -> None:
    """Add `--measure` and the options that say how it measures."""
    add_option(
        group,
        "--measure",
        default=False,
        action="store_true",
        help="Load the model and measure, on few windows of text, how even its routing is, what each layer loses as "
        "experts go, and the fitness that is left at 10%% to 70%% sparsity; much shorter than a search (default: off)",
    )
    add_option(
        group,
        "--criterion",
        metavar="NAME",
        help="Which experts of a layer go first, as in prune; esap takes longer and shows more (default: frequency)",
    )
    add_field_options(group, _FIELDS)
    add_loading_options(group)


def check_measure_options(args: Namespace) -> None:
    """Refuse options that would have no effect, and values that they cannot have.

    Raises:
        ValueError: Options of the measurement without `--measure`, or a wrong value.
    """
    given = [name for name in (*given_options(args), "tokenizer") if hasattr(args, name)]
    if given and not args.measure:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{options} would have no effect: add --measure to measure something.")
    check_given_options(args)


def measure(args: Namespace) -> Prunability:
    """Load the model and measure."""
    from ..configuration import EvoESAPConfig
    from ..reports.measured import CRITERION, measure_prunability

    config = EvoESAPConfig(**{"criterion": CRITERION} | given_options(args))
    return measure_prunability(
        args.model,
        config,
        tokenizer=getattr(args, "tokenizer", None),
        **loading_options(args),
        **source_options(args),
    )


def measured_text(measured: Prunability) -> list[str]:
    """What was measured, as paragraphs and tables."""
    tokens = measured.tokens
    outlooks = [
        [share(each.sparsity), str(each.removed_experts), score(each.fitness), score(each.uniform)]
        for each in measured.outlooks
    ]
    parts = [
        f"Measured on {measured.data}: routing on {tokens['routing']:,} tokens; on {tokens['curves']:,} of them the "
        f"{measured.fitness} that is lost where a quarter, a half and three quarters of the experts that can go leave "
        f"one layer alone, in the order of {measured.criterion}.",
        _layers(measured.layers),
    ]
    if not outlooks:
        return [*parts, "None of the sparsities from 10% to 70% can be reached."]
    header = ["sparsity", "experts removed", measured.fitness, "uniform"]
    return [
        *parts,
        table(outlooks, header=header),
        f"Measured on {tokens['outlooks']:,} other tokens: the {measured.fitness} of the allocation that follows from "
        "what the layers lose, and of the uniform one. A search, which also measures which experts go, usually keeps "
        "more.",
    ]


def _layers(layers: list[LayerPrunability]) -> str:
    header = ["layer", "busiest quarter gets", "evenness", "hardly reached"]
    rows = [
        [
            str(layer.index),
            *("-" if value is None else whole_share(value) for value in (layer.busiest_quarter, layer.entropy)),
            str(layer.hardly_reached),
            *_losses(layer),
        ]
        for layer in layers
    ]
    return table(rows, header=[*header, *(f"loss at {whole_share(each)}" for each in _SHOWN)])


def _losses(layer: LayerPrunability) -> list[str]:
    """What the curve says at some shares of what can go; nothing of a layer that stays whole."""
    if not layer.curve:
        return ["stays whole"] * len(_SHOWN)
    curve = Curve.through({0: 0.0} | layer.curve)
    return [score(curve(round(each * max(layer.curve)))) for each in _SHOWN]
