# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Tokenized rows with further tensors, such as the pixels of an image: samples that are batches of their own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy
import torch

from .options import DataError, DataOptions
from .tokenized import IGNORE_INDEX, TOKEN_TENSORS
from .windows import Window, as_integers, row_labels


# What tokenizers and processors also return, and models of images and text do not read.
NO_INPUTS = {
    "assistant_masks",
    "length",
    "num_truncated_tokens",
    "offset_mapping",
    "overflow_to_sample_mapping",
    "special_tokens_mask",
    "text_replacement_offsets",
    "token_type_ids",
}
# Names of inputs that are tensors for the model also where a data set holds them as lists.
_INPUT_NAME = re.compile("pixel|image|video|audio|feature|grid|mm_")


def further_tensors(row: Mapping[str, Any]) -> Window:
    """The tensors of a tokenized row that are not tokens, labels, masks or positions; empty for a row of text.

    Columns that hold no tensor are left out, as are single numbers and what tokenizers return for other purposes.

    Raises:
        DataError: A column with the name of a model input holds lists from which no tensor can be made.
    """
    tensors = {}
    for name, value in row.items():
        if name in TOKEN_TENSORS or name in NO_INPUTS:
            continue
        if isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(value)
        elif isinstance(value, (list, tuple)) and value and _INPUT_NAME.search(name):
            value = _from_list(name, value)
        if isinstance(value, torch.Tensor) and value.ndim:
            tensors[name] = value.detach().to("cpu", copy=True)
    if tensors and isinstance(row.get("token_type_ids"), torch.Tensor):
        # Some models tell image tokens from text by them; only those that name this input get it.
        tensors["token_type_ids"] = row["token_type_ids"].detach().to("cpu", copy=True)
    return tensors


def sample_from_row(
    row: Mapping[str, Any], further: Window, options: DataOptions, placeholder_tokens: Collection[int]
) -> Window:
    """Make the window of a tokenized row with further tensors.

    Args:
        row: `input_ids` and optionally `attention_mask` and `labels`, each of shape (tokens,) or (1, tokens), and
            optionally `position_ids` of any shape.
        further: What `further_tensors` finds in it.
        options: For `scored_tokens`.
        placeholder_tokens: Tokens that stand for an image or the like; they are not scored.

    Raises:
        DataError: The row holds several samples or none, or its tensors do not fit each other.
    """
    names = [name for name in ("input_ids", "attention_mask", "labels") if row.get(name) is not None]
    tokens = {name: as_integers(row[name], name) for name in names}
    shapes = {name: tuple(tensor.shape) for name, tensor in tokens.items()}
    rows, length = shapes["input_ids"]
    if rows != 1 or not length:
        raise DataError(
            f"a row with {_listed(further)} holds `input_ids` of shape {shapes['input_ids']}: give one sample a row, "
            "with `input_ids` of shape (tokens,) or (1, tokens)"
        )
    if len(set(shapes.values())) > 1:
        raise DataError(f"`input_ids`, `attention_mask` and `labels` must have one shape, but have {shapes}")
    window = {name: tensor[0].clone() for name, tensor in tokens.items()}
    if torch.as_tensor(row["input_ids"]).ndim == 1:
        further = {name: tensor[None] if tensor.shape == (length,) else tensor for name, tensor in further.items()}
    labels = row_labels(window, options.scored_tokens)
    window["labels"] = labels.masked_fill(placeholders(window["input_ids"], further, placeholder_tokens), IGNORE_INDEX)
    if row.get("position_ids") is not None:
        window["position_ids"] = torch.as_tensor(row["position_ids"]).detach().to("cpu", copy=True)
    return {**window, **further}


def placeholders(input_ids: torch.Tensor, further: Window, placeholder_tokens: Collection[int]) -> torch.Tensor:
    """Which of the tokens stand for an image, a video or sound.

    Args:
        input_ids: Shape (tokens,).
        further: The other tensors of the sample; `mm_token_type_ids`, where there, marks these tokens.
        placeholder_tokens: Tokens that stand for an image or the like.

    Returns:
        Boolean, shape (tokens,).
    """
    found = torch.isin(input_ids, torch.tensor(sorted(placeholder_tokens), dtype=input_ids.dtype))
    types = further.get("mm_token_type_ids")
    return found if types is None or types.numel() != found.numel() else found | (types.reshape(-1) != 0)


def _from_list(name: str, value: Any) -> torch.Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"`{name}` of a tokenized row is not a tensor or list of numbers: {error}") from error


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)
