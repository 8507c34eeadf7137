# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What tells whether saved work belongs to this run: a digest of every weight, the configuration and the versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .versions import package_versions


# Weights are read as blocks of 8-byte words, so many at once: enough to fill a GPU, and a small copy there.
_WORD_BYTES = 8
_BLOCK_WORDS = 2**15
_BLOCKS_AT_ONCE = 256


def fingerprint(model: PreTrainedModel, *parts: Any, weights: str | None = None) -> str:
    """A sha256 that tells whether saved work belongs to this run.

    Args:
        model: The model.
        *parts: What else the work depends on, as JSON values.
        weights: The model's `weights_digest`, where it is known already.
    """
    kind = [model.config.to_dict(), str(model.dtype), model.device.type, package_versions()]
    content = [kind, weights or weights_digest(model), parts]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def weights_digest(model: nn.Module) -> str:
    """A sha256 over the names, shapes, dtypes and values of all parameters and buffers; see `tensors_digest`.

    Args:
        model: The model; nothing in it is changed or moved.
    """
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return tensors_digest(dict(named))


@torch.no_grad()
def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """A sha256 over the names, shapes, dtypes and values of tensors, the same on every device and in every order.

    The bits of a block of values are summed modulo 2**64 as integers, each times an odd factor of its own position.
    An odd factor loses no bit, so one changed value always changes the sum; several, or values that change places, all
    but certainly. The sums are exact, so neither the order of a reduction nor the device matters. They are queued on
    the device where the values lie, and each device is waited for once.

    Args:
        tensors: By name. One tensor under several names is read once; one on the meta device has no values to read.
    """
    names: dict[int, list[str]] = {}
    for name in sorted(tensors):
        names.setdefault(id(tensors[name]), []).append(name)
    factors: dict[torch.device, torch.Tensor] = {}
    queued: dict[torch.device, list[torch.Tensor]] = {}
    table = []
    for shared in names.values():
        tensor = tensors[shared[0]]
        device = tensor.device
        table.append([shared, list(tensor.shape), str(tensor.dtype), device.type == "meta"])
        if device.type != "meta" and tensor.numel():
            if device not in factors:
                factors[device] = _factors().to(device)
            queued.setdefault(device, []).append(_block_sums(tensor, factors[device]))
            table[-1].append([str(device), len(queued[device]) - 1])
    fetched = {str(device): _fetch(sums) for device, sums in queued.items()}
    return _digest(table, fetched)


def _digest(table: list[list[Any]], fetched: dict[str, list[bytes]]) -> str:
    digest = hashlib.sha256()
    for shared, shape, dtype, is_meta, *place in table:
        digest.update(json.dumps([shared, shape, dtype, is_meta]).encode())
        for device, position in place:
            digest.update(fetched[device][position])
    return digest.hexdigest()


def _fetch(sums: list[torch.Tensor]) -> list[bytes]:
    """The sums of each tensor of one device as bytes."""
    together = torch.cat(sums).cpu()
    return [part.numpy().tobytes() for part in together.split([len(each) for each in sums])]


def _block_sums(tensor: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """One int64 for each block of a tensor, on its device."""
    content = tensor.detach().reshape(-1).view(torch.uint8)
    sums = []
    for chunk in content.split(_WORD_BYTES * _BLOCK_WORDS * _BLOCKS_AT_ONCE):
        words = _words(chunk)
        whole = len(words) // _BLOCK_WORDS * _BLOCK_WORDS
        if whole:
            sums.append(_products(words[:whole].view(-1, _BLOCK_WORDS), factors))
        if whole < len(words):
            sums.append(_products(words[None, whole:], factors[: len(words) - whole]))
    return torch.cat(sums)


def _products(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`rows @ factors` modulo 2**64."""
    if rows.device.type == "cpu":
        return torch.mv(rows, factors)  # without a copy; not there for integers on other devices
    return (rows * factors).sum(dim=1)


def _words(content: torch.Tensor) -> torch.Tensor:
    """Bytes as 64-bit words, the last one filled up with zeros."""
    missing = -len(content) % _WORD_BYTES
    if missing:
        content = nn.functional.pad(content, (0, missing))
    elif content.storage_offset() % _WORD_BYTES:
        content = content.clone()  # a view of a larger tensor that does not begin with a word
    return content.view(torch.int64)


def _factors() -> torch.Tensor:
    """An odd number for each place in a block, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    halves = torch.randint(0, 2**32, (2, _BLOCK_WORDS), generator=generator)
    return halves[0] << 32 | halves[1] | 1
