# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From anything that holds text or tokens to `TokenizedData`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch

from .encoding import EncodedDocument, encode_document
from .layouts import read_document
from .options import DataError, DataOptions
from .sources import open_source, parse_sources
from .tokenized import TokenizedData
from .windows import packed_windows, single_windows, tokenized_windows


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Window = dict[str, torch.Tensor]


def prepare_data(
    data: Any,
    options: DataOptions,
    tokenizer: PreTrainedTokenizerBase | None = None,
    vocab_size: int | None = None,
    name: str = "calibration data",
) -> TokenizedData:
    """Turn data of any accepted kind into windows of tokens.

    The same data, options and tokenizer give the same windows in every process. Where the data hold fewer windows than
    wanted, all that there are come back and a warning says so; the last one may then be shorter.

    Args:
        data: One of:

            - the name of a Hub data set, the path of a json, jsonl, parquet or txt file or of a folder, or a mixture
              `name:samples,name:samples` (a revision is written `name@revision`). The rows are shuffled by
              `options.seed`, and the windows of a mixture are spread evenly, so that every part of it is mixed;
            - a `Dataset`, `IterableDataset` or `DatasetDict`, or any iterable of strings, conversations (lists of
              messages) or rows with the columns of a known layout. The order is kept;
            - rows with `input_ids` and optionally `attention_mask`, `labels` and `position_ids`. They need no
              tokenizer; the options only cap their number and length;
            - `TokenizedData`, which is only capped in number.
        options: How the data become windows.
        tokenizer: The model's own tokenizer; needed where `data` hold text.
        vocab_size: Number of token embeddings of the model, to check that every token has one; `None`: no check.
        name: What the data are for; the subject of messages.

    Returns:
        The windows, at most as many as wanted.

    Raises:
        DataError: The data are empty, of an unknown kind or layout, have no scored token, hold tokens outside the
            vocabulary, hold text while `tokenizer` is `None`, or do not exist. It is a `ValueError`.
    """
    try:
        if isinstance(data, TokenizedData):
            result = data if len(data) <= options.num_samples else data.split(len(data) - options.num_samples)[0]
        else:
            result = _read(data, options, tokenizer, name)
        _check(result, vocab_size)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return result


def _read(data: Any, options: DataOptions, tokenizer: PreTrainedTokenizerBase | None, name: str) -> TokenizedData:
    """Read every source of `data`, and describe what was read."""
    if isinstance(data, (str, os.PathLike)):
        sources = parse_sources(os.fspath(data), options)
        wanted = [source.num_samples for source in sources]
        labels = [source.label for source in sources]
        streams = [open_source(source, options) for source in sources]
    else:
        wanted, labels, streams = [options.num_samples], [f"a {type(data).__name__}"], [_rows(data, options)]
    parts = []
    for count, label, stream in zip(wanted, labels, streams):
        windows = _windows(stream, replace(options, num_samples=count), tokenizer)
        if not windows:
            raise DataError(f"{label} is empty: it holds no row with text or tokens")
        if len(windows) < count:
            logger.warning("%s: wanted %d windows of %s, found %d", name, count, label, len(windows))
        parts.append(windows)
    sequences = _spread(parts)
    if len(parts) > 1:
        labels = [f"{label} ({len(part)})" for label, part in zip(labels, parts)]
    return TokenizedData(sequences, f"{' + '.join(labels)}, {_described(sequences, options)}")


def _rows(data: Any, options: DataOptions) -> Iterable[Any]:
    """The rows of data given as an object, in their order."""
    if isinstance(data, Mapping):
        if "input_ids" in data:
            return [data]
        if options.split not in data:
            raise DataError(
                f"there is no split {options.split!r}; a mapping was given with {', '.join(map(str, data))}"
            )
        data = data[options.split]
    if not isinstance(data, Iterable):
        raise DataError(
            f"{type(data).__name__} is not a kind of data: give a data set name, a path, a `Dataset`, or a list of "
            "texts, conversations, rows or tokenized rows"
        )
    return data


def _windows(stream: Iterable[Any], options: DataOptions, tokenizer: PreTrainedTokenizerBase | None) -> list[Window]:
    """Read as many windows as wanted from a stream of rows, which are all tokenized or all text."""
    rows: Iterator[Mapping[str, Any]] = (_as_row(item) for item in stream)
    first = next(rows, None)
    if first is None:
        return []
    rows = chain([first], rows)
    windows: Iterator[Window]
    if "input_ids" in first:
        windows = chain.from_iterable(tokenized_windows(row, options) for row in rows)
    elif tokenizer is None:
        raise DataError("text must be tokenized, but no tokenizer was given: pass the model's own `tokenizer`")
    else:
        cut = packed_windows if options.packing else single_windows
        windows = cut(_documents(rows, options, tokenizer), options.sequence_length)
    return list(islice(windows, options.num_samples))


def _as_row(item: Any) -> Mapping[str, Any]:
    """Bring an item of a list to a row: a text, a conversation, or token ids get the column that says so."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, torch.Tensor):
        return {"input_ids": item}
    if isinstance(item, (list, tuple)):
        tokens = bool(item) and all(isinstance(token, int) for token in item)
        return {"input_ids" if tokens else "messages": item}
    raise DataError(f"{type(item).__name__} is not a kind of row: give texts, conversations, or dicts of columns")


def _documents(
    rows: Iterable[Mapping[str, Any]], options: DataOptions, tokenizer: PreTrainedTokenizerBase
) -> Iterator[EncodedDocument]:
    """Encode the rows that are not blank."""
    for row in rows:
        document = read_document(row, options.columns)
        if document is not None:
            yield encode_document(document, tokenizer, options.scored_tokens)


def _spread(parts: list[list[Window]]) -> list[Window]:
    """Merge the parts of a mixture evenly, so that a held-out end holds the same mixture as the rest."""
    places = [((index + 0.5) / len(part), number) for number, part in enumerate(parts) for index in range(len(part))]
    windows = [window for part in parts for window in part]
    return [windows[index] for index in sorted(range(len(windows)), key=places.__getitem__)]


def _described(sequences: list[Window], options: DataOptions) -> str:
    """Say how many windows of what kind and length there are."""
    lengths = {len(sequence["input_ids"]) for sequence in sequences}
    packed = "packed " if "position_ids" in sequences[0] else ""
    exactly = "" if lengths == {options.sequence_length} else "up to "
    plural = "s" if len(sequences) > 1 else ""
    return f"{len(sequences)} {packed}window{plural} of {exactly}{options.sequence_length} tokens"


def _check(data: TokenizedData, vocab_size: int | None) -> None:
    """Raise where the windows cannot be used with the model."""
    if not len(data):
        raise DataError("there are no windows")
    lowest = min(int(sequence["input_ids"].min()) for sequence in data.sequences)
    highest = max(int(sequence["input_ids"].max()) for sequence in data.sequences)
    if lowest < 0 or (vocab_size is not None and highest >= vocab_size):
        outside = lowest if lowest < 0 else highest
        vocabulary = f" of {vocab_size}" if vocab_size is not None else ""
        raise DataError(
            f"token id {outside} does not fit the model's vocabulary{vocabulary}: use the model's own tokenizer"
        )
    if data.num_scored_tokens == 0:
        raise DataError(
            f"no token is scored in {data.description}: check the labels or the assistant's turns, use longer windows "
            'if the questions fill them, or score every token with `scored_tokens="all"`'
        )
