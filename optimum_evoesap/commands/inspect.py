# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap inspect`: what pruning would do to a model, from its config alone or measured."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from itertools import groupby
from typing import TYPE_CHECKING, Any

from optimum.commands.base import BaseOptimumCLICommand

from ..reports.text import change, share, short_bytes, short_count, table
from .arguments import add_model_options, add_option, set_up_parser, source_options
from .errors import errors_in_one_line
from .measure import add_measure_options, check_measure_options, measure, measured_text


if TYPE_CHECKING:
    from ..reports.inspection import LayerInspection, ModelInspection
    from ..reports.prunability import Prunability


class InspectCommand(BaseOptimumCLICommand):
    """Shows the sparse layers of a model and the sizes that pruning would leave."""

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the options."""
        set_up_parser(
            parser,
            "Show the sparse layers of a model and the sizes that pruning would leave. Only the config is read, never "
            "the weights, unless --measure asks for more.",
            usage="-m MODEL [options]",
        )
        model = parser.add_argument_group("model")
        add_model_options(model)
        measured = parser.add_argument_group("measurement")
        add_measure_options(measured)
        output = parser.add_argument_group("output")
        add_option(output, "--json", default=False, action="store_true", help="Print JSON (default: off)")

    def run(self) -> None:
        """Print what follows from the config, and what was measured."""
        with errors_in_one_line():
            check_measure_options(self.args)
            from ..reports.inspection import inspect_model

            inspection = inspect_model(self.args.model, **source_options(self.args))
            measured = measure(self.args) if self.args.measure else None
            if self.args.json:
                print(json.dumps(_as_json(inspection, measured), indent=2))
            else:
                print("\n\n".join([*_as_text(inspection), *(measured_text(measured) if measured else [])]))


def _as_json(inspection: ModelInspection, measured: Prunability | None) -> dict[str, Any]:
    computed = {"num_experts": inspection.num_experts, "expert_share": inspection.expert_share}
    return dataclasses.asdict(inspection) | computed | ({"measured": dataclasses.asdict(measured)} if measured else {})


def _as_text(inspection: ModelInspection) -> list[str]:
    return [_model(inspection), _layers(inspection.layers), _outlooks(inspection)]


def _model(inspection: ModelInspection) -> str:
    lines = [
        f"{inspection.model} ({inspection.model_type}, {inspection.dtype})",
        f"{short_count(inspection.parameters)} parameters, {short_bytes(inspection.size_in_bytes)}; "
        f"{inspection.num_experts} routed experts in {len(inspection.layers)} sparse layers hold "
        f"{share(inspection.expert_share)} of the parameters.",
    ]
    if inspection.quantization:
        lines.append(f"The checkpoint is quantized ({inspection.quantization}); the sizes are those without it.")
    return "\n".join(lines)


def _layers(layers: list[LayerInspection]) -> str:
    """One row for each run of equal layers."""
    rows, notes = [], []
    for values, equal in groupby(layers, key=lambda layer: dataclasses.astuple(layer)[1:]):
        indices = [layer.index for layer in equal]
        num_experts, top_k, num_groups, min_kept, parameters, unprunable_reason = values
        if unprunable_reason:
            notes.append(f"Layer {_ranges(indices)} stays whole: {unprunable_reason}.")
        numbers = [str(num_experts), str(top_k), str(num_groups), str(min_kept), short_count(parameters)]
        rows.append([_ranges(indices), *numbers])
    header = ["sparse layers", "experts", "top-k", "groups", "fewest kept", "parameters per expert"]
    return "\n".join([table(rows, header=header), *notes])


def _ranges(indices: list[int]) -> str:
    """`0-3,5` for 0, 1, 2, 3, 5."""
    parts = []
    for _, run in groupby(enumerate(indices), key=lambda item: item[1] - item[0]):
        numbers = [index for _, index in run]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(parts)


def _outlooks(inspection: ModelInspection) -> str:
    if not inspection.outlooks:
        return "No expert can be removed: every sparse layer has only as many as its router needs."
    rows = [
        [
            share(outlook.sparsity) + (" (largest)" if outlook.sparsity == inspection.largest_sparsity else ""),
            f"{outlook.removed_experts} of {inspection.num_experts}",
            short_count(outlook.parameters),
            short_bytes(outlook.size_in_bytes),
            change(outlook.size_in_bytes / inspection.size_in_bytes - 1),
        ]
        for outlook in inspection.outlooks
    ]
    return table(rows, header=["sparsity", "experts removed", "parameters left", "size left", "change"])
