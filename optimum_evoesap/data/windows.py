# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From encoded documents, or from rows that are tokenized already, to windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from .encoding import EncodedDocument
from .options import DataError, DataOptions
from .tokenized import IGNORE_INDEX, TOKEN_TENSORS


Window = dict[str, torch.Tensor]


def packed_windows(documents: Iterable[EncodedDocument | Window], sequence_length: int) -> Iterator[Window]:
    """Yield the documents in order, one after another, cut into windows of `sequence_length` tokens.

    `position_ids` restart where a document or a window starts, and the token there is not scored, since nothing in
    the window predicts it. When the documents run out, the rest follows as one shorter window if a token of it is
    scored; a caller that stops at the number of windows it wants never sees it. A document that is a window already
    passes as it is.

    Args:
        documents: Encoded documents, or windows.
        sequence_length: Tokens of a window.
    """
    input_ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    for document in documents:
        if isinstance(document, dict):
            yield document
            continue
        start = 0
        while start < len(document.input_ids):
            end = start + sequence_length - len(input_ids)
            piece = document.input_ids[start:end]
            input_ids += piece
            labels += [IGNORE_INDEX, *document.labels[start + 1 : end]]
            positions += range(len(piece))
            start = end
            if len(input_ids) == sequence_length:
                yield _window(input_ids, labels, positions)
                input_ids, labels, positions = [], [], []
    if any(label != IGNORE_INDEX for label in labels):
        yield _window(input_ids, labels, positions)


def single_windows(documents: Iterable[EncodedDocument | Window], sequence_length: int) -> Iterator[Window]:
    """Yield one window a document, truncated to `sequence_length` tokens; batches pad them.

    A document that is a window already passes as it is.

    Args:
        documents: Encoded documents, or windows.
        sequence_length: Most tokens of a window.
    """
    for document in documents:
        if isinstance(document, dict):
            yield document
        elif document.input_ids:
            yield {
                "input_ids": torch.tensor(document.input_ids[:sequence_length]),
                "labels": torch.tensor(document.labels[:sequence_length]),
            }


def tokenized_windows(row: Mapping[str, Any], options: DataOptions) -> Iterator[Window]:
    """Yield the window, or for tensors of two dimensions the windows, of a row that is tokenized already.

    Args:
        row: `input_ids` and optionally `attention_mask`, `labels` and `position_ids`, each a tensor or list of
            shape (tokens,) or (windows, tokens). Without labels, every token is scored.
        options: For `sequence_length`, to which windows are truncated, and `scored_tokens`.

    Raises:
        DataError: The row has no tokens, its tensors do not fit each other, or its labels are not its tokens.
    """
    tensors = {name: as_integers(row[name], name) for name in TOKEN_TENSORS if row.get(name) is not None}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if "input_ids" not in tensors or tensors["input_ids"].numel() == 0:
        raise DataError(f"a tokenized row holds no tokens in `input_ids` (columns: {', '.join(row)})")
    if len(set(shapes.values())) > 1:
        raise DataError(f"the tensors of a tokenized row must have one shape, but have {shapes}")
    for index in range(len(tensors["input_ids"])):
        window = {name: tensor[index, : options.sequence_length].clone() for name, tensor in tensors.items()}
        yield {**window, "labels": row_labels(window, options.scored_tokens)}


def row_labels(window: Window, scored_tokens: str) -> torch.Tensor:
    """Labels of a tokenized window: the given ones or all tokens, without padding and tokens that nothing predicts.

    Args:
        window: `input_ids` and optionally `labels`, `attention_mask` and `position_ids`, each of shape (tokens,).
        scored_tokens: `"auto"`, `"all"` or `"answers"`, as in `DataOptions`.

    Returns:
        Shape (tokens,): the token where it is scored, -100 elsewhere.

    Raises:
        DataError: Answers are wanted and there are no labels, or a label is neither -100 nor its token.
    """
    input_ids = window["input_ids"]
    if scored_tokens == "answers" and "labels" not in window:
        raise DataError(
            "tokenized rows without `labels` do not say which tokens are answers: give labels or use "
            '`scored_tokens="all"`'
        )
    labels = input_ids if scored_tokens == "all" else window.get("labels", input_ids)
    if ((labels != input_ids) & (labels != IGNORE_INDEX)).any():
        raise DataError(
            "`labels` must be -100 or equal to `input_ids` at the same place, not shifted: the fitness shifts them"
        )
    unscored = torch.zeros_like(input_ids, dtype=torch.bool)
    unscored[0] = True
    if "attention_mask" in window:
        padding = window["attention_mask"] == 0
        unscored |= padding
        unscored[1:] |= padding[:-1]
    if "position_ids" in window:
        unscored[1:] |= window["position_ids"].diff() != 1
    return labels.masked_fill(unscored, IGNORE_INDEX)


def as_integers(values: Any, name: str) -> torch.Tensor:
    """Bring one column of a tokenized row to an int64 tensor of shape (windows, tokens).

    Args:
        values: A tensor or list of shape (tokens,) or (windows, tokens).
        name: Name of the column, for messages.

    Raises:
        DataError: The values are no integers, or have another number of axes.
    """
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"`{name}` of a tokenized row is not a tensor or list of integers: {error}") from error
    if tensor.numel() and (tensor.is_floating_point() or tensor.is_complex()):
        raise DataError(f"`{name}` of a tokenized row holds {tensor.dtype}, not integers")
    if tensor.ndim not in (1, 2):
        raise DataError(f"`{name}` of a tokenized row has {tensor.ndim} dimensions, not 1 or 2")
    return torch.atleast_2d(tensor.detach().to("cpu", torch.int64))


def _window(input_ids: list[int], labels: list[int], positions: list[int]) -> Window:
    """Make the tensors of a packed window."""
    return {
        "input_ids": torch.tensor(input_ids),
        "labels": torch.tensor(labels),
        "position_ids": torch.tensor(positions),
    }
