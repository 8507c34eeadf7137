# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Attention in windows that hold several documents: torch's flash attention in place of a mask of all pairs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


logger = logging.getLogger(__name__)

_NAME = "sdpa"
_LARGEST_HEAD = 256
# Relative to the norm; half precision rounds to 0.4%.
_LARGEST_ERROR = 2e-2


@dataclass
class Documents:
    """Where the documents in a batch of windows begin and end, the windows laid end to end.

    Attributes:
        bounds: First token of each document, and the end of the last, int32.
        longest: Tokens of the longest.
    """

    bounds: torch.Tensor
    longest: int


@contextmanager
def attention_within_documents(model: PreTrainedModel) -> Iterator[None]:
    """A context in which `sdpa` attention on a GPU runs without a mask where the mask only separates documents."""
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    if not on_gpu or _varlen_attention() is None:
        yield
        return
    with attention_function(_NAME, _without_mask(ALL_ATTENTION_FUNCTIONS[_NAME])):
        yield


@contextmanager
def attention_function(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """A context in which `name` in transformers' table of attention functions is `function`.

    Args:
        name: Name of an attention implementation.
        function: The function that is called under this name within the context.
    """
    # This table comes before transformers' global one; the user may have put a function there.
    own = ALL_ATTENTION_FUNCTIONS._local_mapping
    before = own.get(name)
    own[name] = function
    try:
        yield
    finally:
        if before is None:
            own.pop(name, None)
        else:
            own[name] = before


def find_documents(mask: torch.Tensor) -> Documents | None:
    """The documents that a mask separates, if it does nothing else; the host waits for the device.

    Args:
        mask: Shape (windows, 1, tokens, tokens), true where the row's token sees the column's.
    """
    windows, _, tokens, columns = mask.shape
    if tokens != columns:
        return None
    places = torch.arange(tokens, device=mask.device)
    # A token that sees no earlier one begins a document, which lasts until the next such token.
    is_first = mask[:, 0].to(torch.uint8).argmax(dim=-1) == places
    starts = torch.where(is_first, places, 0).cummax(dim=-1).values
    seen = (places >= starts[..., None]) & (places <= places[:, None])
    if not torch.equal(seen, mask[:, 0]):
        return None
    begins = is_first.flatten().nonzero()[:, 0]
    bounds = torch.cat((begins, begins.new_tensor([windows * tokens]))).int()
    return Documents(bounds, int(bounds.diff().max()))


def _without_mask(attention: Callable[..., Any]) -> Callable[..., Any]:
    found = WeakTensorKeyDictionary()  # one mask serves all layers
    is_right: bool | None = None

    @wraps(attention)
    def within_documents(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
        nonlocal is_right

        def with_mask() -> Any:
            return attention(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)

        fits = is_right is not False and not dropout and kwargs.get("position_bias") is None
        if not (fits and _fits(query, key, value, attention_mask)):
            return with_mask()
        if attention_mask not in found:
            found[attention_mask] = find_documents(attention_mask)
        documents = found[attention_mask]
        if documents is None:
            return with_mask()
        output = _attend(query, key, value, scaling, documents)
        if is_right is None:
            # The function is new in torch: the first time both are run and compared.
            expected, _ = with_mask()
            is_right = _agree(output, expected)
            if not is_right:
                return expected, None
        return output, None

    return within_documents


def _agree(output: torch.Tensor, expected: torch.Tensor) -> bool:
    error = ((output - expected).float().norm() / expected.float().norm()).item()
    if error > _LARGEST_ERROR:
        logger.warning(
            "torch's attention within documents differs from that with a mask by %.1e and is not used; windows of "
            "several documents take longer.",
            error,
        )
    return error <= _LARGEST_ERROR


def _fits(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> bool:
    return (
        mask is not None
        and mask.dtype == torch.bool
        and mask.dim() == 4
        and mask.shape[:3] == (query.shape[0], 1, query.shape[2])
        and query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and not (torch.is_grad_enabled() and query.requires_grad)
        and query.shape[-1] == key.shape[-1] == value.shape[-1] <= _LARGEST_HEAD
        and query.shape[2] == key.shape[2]
    )


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, documents: Documents
) -> torch.Tensor:
    """Causal attention within documents; tensors of shape (windows, heads, tokens, head size)."""
    windows, heads, tokens, head_size = query.shape
    repeats = heads // key.shape[1]
    flat = [each.transpose(1, 2).reshape(windows * tokens, -1, head_size) for each in (query, key, value)]
    if repeats > 1:
        flat[1:] = [each.repeat_interleave(repeats, dim=1) for each in flat[1:]]
    bounds, longest = documents.bounds, documents.longest
    attend = _varlen_attention()
    assert attend is not None
    output = attend(*flat, bounds, bounds, longest, longest, scale=scaling, window_size=(-1, 0))
    return output.view(windows, tokens, heads, head_size)


@lru_cache
def _varlen_attention() -> Any:
    """Torch's function, where it is there and takes a window (torch 2.11)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    names = inspect.signature(varlen_attn).parameters
    return varlen_attn if {"scale", "window_size"} <= names.keys() else None
