# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether the data that a configuration names can be read, which is found out before the weights are."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Mapping
from typing import Any

from ..configuration import EvoESAPConfig
from ..data import DataError, DataOptions
from ..data.layouts import columns_read
from ..data.sources import NumberedRow, Source, open_source, parse_sources
from ..models.processors import Processor, load_processor


logger = logging.getLogger(__name__)

KINDS = ("calibration", "search")


def data_options(config: EvoESAPConfig, kind: str) -> DataOptions:
    """How data of a kind become windows.

    Args:
        config: The choices.
        kind: `calibration` or `search`; the latter are held out too.
    """
    samples = {
        "calibration": config.calibration_samples,
        "search": config.search_samples + round(config.search_samples * config.holdout_fraction),
    }
    return DataOptions(
        num_samples=samples[kind],
        sequence_length=config.sequence_length,
        seed=config.seed,
        packing=config.packing,
        scored_tokens=config.scored_tokens,
        columns=config.columns,
        skip_unusable_rows=config.skip_unusable_rows,
        split=config.data_split,
        config_name=config.data_config,
        revision=config.data_revision,
    )


def find_processor_for(
    config: EvoESAPConfig, path: str, will_be_read: Collection[str] = (), **model_kwargs: Any
) -> Processor | None:
    """The processor or tokenizer that comes with a model, and a look at the data; `None` where tokens need none.

    Args:
        config: Names the data.
        path: The model.
        will_be_read: As in [`check_data`].
        **model_kwargs: Only those that say where files come from are used.

    Raises:
        DataError: As [`check_data`].
    """
    try:
        processor = load_processor(path, **model_kwargs)
    except (OSError, ValueError, ImportError) as error:
        check_data(config, will_be_read, f"{path} has no tokenizer that can be used ({error})")
        logger.warning("No tokenizer could be loaded from %s, so only tokenized data can be used: %s", path, error)
        return None
    check_data(config, will_be_read)
    return processor


def check_data(config: EvoESAPConfig, will_be_read: Collection[str], no_tokenizer: str = "") -> None:
    """Open the data that a configuration names, and look at the first row of each.

    Data that others may take the place of, given in memory, are not opened; only where there is no tokenizer, and they
    are not those at the default.

    Args:
        config: Names the data.
        will_be_read: Kinds of data, `calibration` and `search`, that will be read as the configuration names them.
        no_tokenizer: Where there is none: says so, and why.

    Raises:
        DataError: Data cannot be opened or are empty, `columns` does not fit them, or they are text and there is no
            tokenizer. It is a `ValueError`.
    """
    defaults = {option.name: option.default for option in dataclasses.fields(EvoESAPConfig)}
    for kind in KINDS:
        name = getattr(config, f"{kind}_dataset")
        is_own = name != defaults[f"{kind}_dataset"]
        if name is not None and (kind in will_be_read or (no_tokenizer and is_own)):
            try:
                _check(name, data_options(config, kind), no_tokenizer)
            except DataError as error:
                raise DataError(f"{kind} data: {error}") from error


def _check(name: str, options: DataOptions, no_tokenizer: str) -> None:
    for source in parse_sources(name, options):
        row = _first_row(source, options)
        if "input_ids" in row:
            continue
        if no_tokenizer:
            raise DataError(
                f"{source.label} holds text, and {no_tokenizer}: give one as `tokenizer` (--tokenizer), or data that "
                "are tokens (`input_ids`)"
            )
        if options.columns and isinstance(row, Mapping) and not options.skip_unusable_rows:
            columns_read(row, options.columns)


def _first_row(source: Source, options: DataOptions) -> Any:
    row = next(iter(open_source(source, options, is_shuffled=False)), None)
    if row is None:
        raise DataError(f"{source.label} is empty: it holds no row with text or tokens")
    return row.row if isinstance(row, NumberedRow) else row
