# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A piece of finished work: one file with the key of the run inside, and a checksum by which damage is seen.

A key in a file of its own could be that of another run, after a kill between the two.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from .durable import write_durably


# What a damaged file, or one of another release, ends in when it is read.
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)

Tensors = dict[str, torch.Tensor]


def write_json(path: Path, key: str, content: Any) -> None:
    """Write a piece as JSON, which keeps every bit of a float.

    Args:
        path: The file; it is on the disk when this returns.
        key: Fingerprint of what the piece depends on.
        content: JSON values.
    """
    write_durably(path, json.dumps({"key": key, "sha256": _json_checksum(key, content), "content": content}).encode())


def read_json(path: Path) -> tuple[str, Any]:
    """The key and the content of a piece.

    Args:
        path: The file.

    Raises:
        ValueError: It does not hold what was written; or another of `DAMAGE`.
    """
    piece = json.loads(path.read_bytes())
    key, content = piece["key"], piece["content"]
    if piece["sha256"] != _json_checksum(key, content):
        raise ValueError("it does not hold what was written into it")
    return key, content


def write_tensors(path: Path, key: str, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write a piece as safetensors.

    Args:
        path: The file; it is on the disk when this returns.
        key: Fingerprint of what the piece depends on.
        tensors: By name; on any device.
        metadata: Further values.
    """
    tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    metadata = metadata | {"key": key}
    metadata["sha256"] = _tensors_checksum(tensors, metadata)
    write_durably(path, serialize(tensors, metadata))


def read_tensors(path: Path) -> tuple[str, tuple[Tensors, dict[str, str]]]:
    """The key of a piece, its tensors and its further values.

    Args:
        path: The file.

    Raises:
        ValueError: It does not hold what was written; or another of `DAMAGE`.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if metadata.pop("sha256", None) != _tensors_checksum(tensors, metadata):
        raise ValueError("it does not hold what was written into it")
    return metadata.pop("key"), (tensors, metadata)


def _json_checksum(key: str, content: Any) -> str:
    return hashlib.sha256(json.dumps([key, content], sort_keys=True).encode()).hexdigest()


def _tensors_checksum(tensors: Tensors, metadata: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
