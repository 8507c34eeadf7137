# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Files of safetensors as they lie on the disk.

Tensors are bytes here, which are sliced and written without being read as numbers. So any dtype passes, and no more
than a part of one tensor is in memory.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np


# The size of the header comes first, as an unsigned number of 8 bytes; the format allows 100 MB.
_SIZE = struct.Struct("<Q")
_MOST_HEADER_BYTES = 100_000_000
_METADATA = "__metadata__"
# Of those dtypes that are older than this file; of later ones the size is not checked.
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    "F4": 4,
}
# What is read and written at once.
_CHUNK_BYTES = 64 * 2**20


class TensorFileError(ValueError):
    """A file that is no whole safetensors file."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        file: The file.
        name: Its name there.
        dtype: Its dtype, as safetensors writes it, such as `BF16` or `F8_E4M3`.
        shape: Its shape.
        start: Its first byte, counted from the beginning of the file.
        num_bytes: Its size.
    """

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    num_bytes: int


@dataclass(frozen=True)
class TensorFile:
    """What a file holds.

    Attributes:
        path: The file.
        tensors: Its tensors, in the order of their bytes.
        metadata: Whatever whoever wrote it noted.
    """

    path: Path
    tensors: tuple[StoredTensor, ...]
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """What stays of a tensor.

    Attributes:
        tensor: The tensor.
        name: Its name from now on.
        axis: The axis along which some entries stay.
        entries: Those entries, in their new order; `None` where all stay.
        blocks: Entries of the axis before, where each has its own that stay, as many as the others; `entries` are then
            numbered through. Otherwise 1.
    """

    tensor: StoredTensor
    name: str
    axis: int = 0
    entries: Sequence[int] | None = None
    blocks: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what stays."""
        shape = list(self.tensor.shape)
        if self.entries is not None:
            shape[self.axis] = len(self.entries) // self.blocks
        return tuple(shape)

    @property
    def num_bytes(self) -> int:
        """The size of what stays."""
        if self.entries is None:
            return self.tensor.num_bytes
        return self.tensor.num_bytes // (self.tensor.shape[self.axis] * self.blocks) * len(self.entries)

    def chunks(self, file: IO[bytes]) -> Iterator[bytes | memoryview]:
        """The bytes of what stays, some at a time.

        Args:
            file: The file of the tensor, opened to be read.

        Raises:
            TensorFileError: The file ends before its tensor does, or an entry has no whole number of bytes.
        """
        tensor = self.tensor
        if self.entries is None:
            yield from _read(file, tensor, tensor.start, tensor.num_bytes)
            return
        rows, size = math.prod(tensor.shape[: self.axis]) // self.blocks, tensor.shape[self.axis] * self.blocks
        if tensor.num_bytes % (rows * size):
            raise TensorFileError(
                f"{tensor.name} in {tensor.file} has {tensor.dtype} entries that share bytes along axis {self.axis}, "
                "so that none can be taken out."
            )
        entry = tensor.num_bytes // (rows * size)
        if rows == 1:
            for first, count in _runs(self.entries):
                yield from _read(file, tensor, tensor.start + first * entry, count * entry)
            return
        whole = b"".join(_read(file, tensor, tensor.start, tensor.num_bytes))
        table = np.frombuffer(whole, np.uint8).reshape(rows, size, entry)
        yield np.ascontiguousarray(table[:, list(self.entries)]).data


def read_tensor_file(path: str | Path) -> TensorFile:
    """Read what a file holds, not the tensors themselves.

    Args:
        path: The file.

    Raises:
        TensorFileError: It is none of safetensors, or is cut off.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(_SIZE.size)
        length = _SIZE.unpack(start)[0] if len(start) == _SIZE.size else _MOST_HEADER_BYTES + 1
        if length > _MOST_HEADER_BYTES:
            raise TensorFileError(f"{path} is no safetensors file: it begins with {start[:8]!r}.")
        try:
            header = json.loads(file.read(length))
            metadata = header.pop(_METADATA, None) or {}
            tensors = [_stored(path, name, entry, _SIZE.size + length) for name, entry in header.items()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TensorFileError(f"The header of {path} is damaged ({type(error).__name__}: {error}).") from error
    tensors.sort(key=lambda tensor: (tensor.start, tensor.num_bytes))
    end = max((tensor.start + tensor.num_bytes for tensor in tensors), default=0)
    if end > path.stat().st_size:
        raise TensorFileError(f"{path} is cut off: its tensors need {end} bytes, and it has {path.stat().st_size}.")
    return TensorFile(path, tuple(tensors), metadata)


def write_tensor_file(path: str | Path, selections: Sequence[Selection], metadata: Mapping[str, str]) -> None:
    """Write what stays of some tensors, all of one file, into a new one; it is on the disk when this returns.

    Args:
        path: The new file.
        selections: What stays, in the order of its bytes.
        metadata: What is noted beside it.

    Raises:
        TensorFileError: A tensor cannot be read or sliced.
    """
    header: dict[str, object] = {_METADATA: dict(metadata)} if metadata else {}
    position = 0
    for each in selections:
        offsets = [position, position := position + each.num_bytes]
        header[each.name] = {"dtype": each.tensor.dtype, "shape": list(each.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # The bytes of the tensors begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    with Path(path).open("wb") as out:
        out.write(_SIZE.pack(len(text)) + text)
        if selections:
            with selections[0].tensor.file.open("rb") as file:
                for each in selections:
                    for chunk in each.chunks(file):
                        out.write(chunk)
        out.flush()
        os.fsync(out.fileno())


def _stored(path: Path, name: str, entry: dict, offset: int) -> StoredTensor:
    begin, end = map(int, entry["data_offsets"])
    shape = tuple(map(int, entry["shape"]))
    bits = _BITS.get(entry["dtype"])
    if not 0 <= begin <= end or min(shape, default=0) < 0 or (bits and math.prod(shape) * bits != 8 * (end - begin)):
        raise ValueError(f"{name} of {entry['dtype']} has the shape {shape} and the bytes {begin} to {end}")
    return StoredTensor(path, name, str(entry["dtype"]), shape, offset + begin, end - begin)


def _runs(entries: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First entry and length of each run of entries that follow each other."""
    first = 0
    for place in range(1, len(entries) + 1):
        if place == len(entries) or entries[place] != entries[place - 1] + 1:
            yield entries[first], place - first
            first = place


def _read(file: IO[bytes], tensor: StoredTensor, start: int, length: int) -> Iterator[bytes]:
    file.seek(start)
    while length:
        chunk = file.read(min(length, _CHUNK_BYTES))
        if not chunk:
            raise TensorFileError(f"{tensor.file} ends within {tensor.name}.")
        length -= len(chunk)
        yield chunk
