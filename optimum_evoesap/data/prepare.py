# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From anything that holds text or tokens to `TokenizedData`."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from .absent import without_absent
from .messages import listed
from .options import DataError, DataOptions
from .public_names import PublicNames
from .rows import RowReader
from .sources import Source, domain_names, open_source, parse_sources
from .tokenized import TokenizedData, stands_alone
from .windows import Window


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
# Fewer documents than that, where there are as many windows, are hardly a sample of anything.
FEW_DOCUMENTS = 16
# So few tokens that hardly one of them comes to each expert.
FEW_TOKENS = 32


def prepare_data(
    data: Any,
    options: DataOptions,
    tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
    vocab_size: int | None = None,
    name: str = "calibration data",
    placeholder_tokens: Collection[int] = (),
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
              tokenizer; the options only cap their number and length. A row with further tensors for the model, such
              as `pixel_values`, holds one sample and becomes a batch of its own;
            - conversations with parts `{"type": "image", "image": image, path or url}`, or rows with the columns
              `messages` and `images`, for a processor. Each becomes a batch of its own;
            - `TokenizedData`, which is only capped in number.
        options: How the data become windows. Samples with images cannot be cut: a warning says how many were too long
            and left out.
        tokenizer: The model's own tokenizer or processor; needed where `data` hold text, and the latter for images.
        vocab_size: Number of token embeddings of the model, to check that every token has one; `None`: no check.
        name: What the data are for; the subject of messages.
        placeholder_tokens: Tokens that stand for an image, a video or sound; not scored in samples that hold these.

    Returns:
        The windows, at most as many as wanted.

    Raises:
        DataError: The data are empty, of an unknown kind or layout, have a row that cannot be used (named by its
            number, unless such rows are skipped), have no scored token, hold tokens outside the vocabulary, hold text
            while `tokenizer` is `None` or images while it is no processor, or do not exist. It is a `ValueError`.
    """
    try:
        if isinstance(data, TokenizedData):
            result = data if len(data) <= options.num_samples else data.split(len(data) - options.num_samples)[0]
        else:
            result = _read(data, options, tokenizer, name, placeholder_tokens)
        _check(result, vocab_size, placeholder_tokens)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return result


def _read(
    data: Any, options: DataOptions, tokenizer: Any, name: str, placeholder_tokens: Collection[int]
) -> TokenizedData:
    """Read every source of `data`, and describe what was read."""
    domains: list[str] | None = None
    sources: list[Source] = []
    if isinstance(data, (str, os.PathLike)):
        sources = parse_sources(os.fspath(data), options)
        wanted = [source.num_samples for source in sources]
        labels = [source.label for source in sources]
        domains = domain_names(sources)
        streams = [open_source(source, options) for source in sources]
    else:
        wanted, labels, streams = [options.num_samples], [f"a {type(data).__name__}"], [_rows(data, options)]
    parts, num_documents = [], 0
    for count, label, stream in zip(wanted, labels, streams):
        reader = RowReader(replace(options, num_samples=count), tokenizer, placeholder_tokens, label)
        windows = reader.windows(stream)
        _report_rows(reader, name, label, bool(windows))
        if reader.too_long:
            _report_too_long(reader.too_long, label, name, options, bool(windows))
        if not windows:
            raise DataError(f"{label} is empty: it holds no row with text or tokens")
        if len(windows) < count:
            logger.warning(
                "%s: wanted %d windows of %s, found %d. Give more data, or ask for fewer or shorter windows.",
                name,
                count,
                label,
                len(windows),
            )
        parts.append(windows)
        num_documents += len(reader.documents)
    sequences = _spread(parts)
    if num_documents < FEW_DOCUMENTS <= len(sequences):
        logger.warning(
            "%s: the %d windows of %s are of no more than %d different documents: what suits these may not suit "
            "others. Give data with more documents.",
            name,
            len(sequences),
            " + ".join(labels),
            num_documents,
        )
    num_tokens = sum(len(sequence["input_ids"]) for sequence in sequences)
    asked = sum(wanted) * options.sequence_length
    if num_tokens < min(FEW_TOKENS, asked / 2) and not any(map(stands_alone, sequences)):
        logger.warning(
            "%s: %s %s no more than %d tokens. Of that no order of experts can be told, and no allocation: give some "
            "thousand tokens at least, in many documents.",
            name,
            " + ".join(labels),
            "holds" if len(labels) == 1 else "hold",
            num_tokens,
        )
    if domains is not None:
        domains = _spread([[domain] * len(part) for domain, part in zip(domains, parts)])
    if len(parts) > 1:
        labels = [f"{label} ({len(part)})" for label, part in zip(labels, parts)]
    rest = _described(sequences, options)
    public = PublicNames.of(sources, labels, rest, options.num_samples) if sources else None
    description = f"{' + '.join(labels)}, {rest}"
    return TokenizedData(sequences, description, None if domains is None else tuple(domains), public)


def _report_rows(reader: RowReader, name: str, label: str, others: bool) -> None:
    """Say which rows were left out, and what was left out of the others; an error where there are no others."""
    if reader.unusable:
        text = f"{len(reader.unusable)} rows of {label} cannot be used; the first: {reader.unusable[0]}"
        if not others:
            raise DataError(text)
        logger.warning("%s: %s. They are left out.", name, text)
    if reader.unread:
        logger.warning(
            "%s: in %s nothing reads %s. Where that belongs to the text, name its column with the `columns` option.",
            name,
            label,
            listed(sorted(reader.unread)),
        )


def _report_too_long(lengths: list[int], label: str, name: str, options: DataOptions, others: bool) -> None:
    """Say which samples were left out; an error where there are no others."""
    longest = f"{min(lengths)} to {max(lengths)}" if len(set(lengths)) > 1 else f"{lengths[0]}"
    samples = "1 sample" if len(lengths) == 1 else f"{len(lengths)} samples"
    text = (
        f"{samples} with images or other inputs in {label}, of {longest} tokens, cannot be cut to the "
        f"`sequence_length` of {options.sequence_length}: use a larger one, or smaller images"
    )
    if not others:
        raise DataError(text)
    logger.warning("%s: %s. They are left out.", name, text)


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
    library = type(data).__module__.partition(".")[0]
    if library == "datasets":
        return (row if "input_ids" in row else without_absent(row, data.features) for row in data)
    if library in ("pandas", "polars", "pyarrow"):
        raise DataError(
            f"a {type(data).__name__} of {library} is not a kind of data: make a `Dataset` of it, or a list of rows"
        )
    if not isinstance(data, Iterable):
        raise DataError(
            f"{type(data).__name__} is not a kind of data: give a data set name, a path, a `Dataset`, or a list of "
            "texts, conversations, rows or tokenized rows"
        )
    return data


def _spread(parts: list[list[Item]]) -> list[Item]:
    """Merge the parts of a mixture evenly, so that a held-out end holds the same mixture as the rest."""
    places = [((index + 0.5) / len(part), number) for number, part in enumerate(parts) for index in range(len(part))]
    items = [item for part in parts for item in part]
    return [items[index] for index in sorted(range(len(items)), key=places.__getitem__)]


def _described(sequences: list[Window], options: DataOptions) -> str:
    """Say how many windows of what kind and length there are."""
    lengths = {len(sequence["input_ids"]) for sequence in sequences}
    packed = "packed " if "position_ids" in sequences[0] else ""
    exactly = "" if lengths == {options.sequence_length} else "up to "
    plural = "s" if len(sequences) > 1 else ""
    alone = sum(map(stands_alone, sequences))
    others = f", {alone} of them with images or other inputs" if alone else ""
    return f"{len(sequences)} {packed}window{plural} of {exactly}{options.sequence_length} tokens{others}"


def _check(data: TokenizedData, vocab_size: int | None, placeholder_tokens: Collection[int]) -> None:
    """Raise where the windows cannot be used with the model."""
    if not len(data):
        raise DataError("there are no windows")
    tokens = torch.cat([sequence["input_ids"] for sequence in data.sequences]).unique()
    # Some models have no embedding of the tokens that an image replaces.
    tokens = [token for token in tokens.tolist() if token not in placeholder_tokens]
    lowest, highest = min(tokens, default=0), max(tokens, default=0)
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
