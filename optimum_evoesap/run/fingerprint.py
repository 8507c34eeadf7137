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


# Weights are read as blocks of 4-byte words: on a GPU so many at once that it is busy; on a CPU one at a time, which
# its cache holds, and which torch does not share among threads that would wait for each other.
_WORD_BYTES = 4
_BLOCK_WORDS = 2**15
_BLOCKS_AT_ONCE = 256
_CPU_BLOCKS_AT_ONCE = 1
_SUMS = 2


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

    The bits of a block of values are read as 32-bit words, and the words, widened to 64 bits, are summed modulo 2**64,
    each times an odd factor of its own place; two such sums are kept, each with factors of its own. Two words differ
    by no multiple of 2**32, so times an odd factor they still differ: where one word of a block changed, its sums did.
    For any other two contents of a block, at most one in 2**64 of all choices of the factors makes both sums equal.
    The sums are exact, so neither the order of a reduction nor the device matters. They are queued on the device where
    the values lie, and each device is waited for once.

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
    """The sums of each block of a tensor as int64, on its device."""
    content = tensor.detach().reshape(-1).view(torch.uint8)
    blocks = _CPU_BLOCKS_AT_ONCE if content.device.type == "cpu" else _BLOCKS_AT_ONCE
    sums = []
    for chunk in content.split(_WORD_BYTES * _BLOCK_WORDS * blocks):
        words = _words(chunk)
        whole = len(words) // _BLOCK_WORDS * _BLOCK_WORDS
        if whole:
            sums.append(_products(words[:whole].view(-1, _BLOCK_WORDS), factors))
        if whole < len(words):
            sums.append(_products(words[None, whole:], factors[:, : len(words) - whole]))
    return torch.cat(sums)


def _products(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`rows @ factors.T` modulo 2**64, row after row, so that it does not matter how many rows come at once."""
    if rows.device.type == "cpu":
        wide = rows.long()
        columns = [torch.mv(wide, each) for each in factors]  # not there for integers on other devices
    else:
        columns = [(rows * each).sum(dim=1) for each in factors]  # widened in passing
    return torch.stack(columns, dim=1).flatten()


def _words(content: torch.Tensor) -> torch.Tensor:
    """Bytes as 32-bit words, the last one filled up with zeros."""
    missing = -len(content) % _WORD_BYTES
    if missing:
        content = nn.functional.pad(content, (0, missing))
    elif content.storage_offset() % _WORD_BYTES:
        content = content.clone()  # a view of a larger tensor that does not begin with a word
    return content.view(torch.int32)


def _factors() -> torch.Tensor:
    """An odd number for each sum and place in a block, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    halves = torch.randint(0, 2**32, (2, _SUMS, _BLOCK_WORDS), generator=generator)
    return halves[0] << 32 | halves[1] | 1
