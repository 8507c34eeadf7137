# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether the data that a configuration names are text, which nothing can read without a tokenizer."""

from __future__ import annotations

import dataclasses

from ..configuration import EvoESAPConfig
from ..data import DataError, DataOptions
from ..data.sources import NumberedRow, open_source, parse_sources


def check_text_can_be_read(config: EvoESAPConfig, path: str) -> None:
    """Raise, before weights are read, where a model without a tokenizer is to be pruned on text.

    Data at their default are not looked at: others may be given in memory.

    Args:
        config: Names the data.
        path: The model, for the message.

    Raises:
        DataError: The first row of data that it names holds no tokens, or cannot be read.
    """
    defaults = {option.name: option.default for option in dataclasses.fields(EvoESAPConfig)}
    for kind in ("calibration", "search"):
        name = getattr(config, f"{kind}_dataset")
        if name is None or name == defaults[f"{kind}_dataset"]:
            continue
        options = DataOptions(
            num_samples=config.calibration_samples,
            sequence_length=config.sequence_length,
            split=config.data_split,
            config_name=config.data_config,
            revision=config.data_revision,
        )
        for source in parse_sources(name, options):
            row = next(iter(open_source(source, options)), None)
            row = row.row if isinstance(row, NumberedRow) else row
            if row is not None and "input_ids" not in row:
                raise DataError(
                    f"{kind} data: {source.label} holds text, and {path} has no tokenizer that can be used: give one "
                    "as `tokenizer` (--tokenizer), or data that are tokens (`input_ids`)"
                )
