# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write the weights of a pruned checkpoint by slicing the files of the whole one, a part of one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from ..models.source_experts import AllExperts, Held, OneExpert, SourceTensors, understand_source
from ..models.sparse_model import SparseModel
from ..models.tensor_files import Selection, StoredTensor, TensorFile, read_tensor_file, write_tensor_file


def check_files(files: Sequence[str | Path], sparse_model: SparseModel, path: str) -> SourceTensors:
    """Find out what the files of a model hold of its experts, before anything is written.

    Args:
        files: The files of weights of the whole model.
        sparse_model: The whole model; may be on the meta device.
        path: Where the model is, for messages.

    Returns:
        What their tensors are.

    Raises:
        TensorFileError: A file is damaged.
        ValueError: There are no files of safetensors, or a tensor holds experts in a way that cannot be told.
    """
    if not files:
        raise ValueError(
            f"The weights of {path} are not in files of safetensors, so they cannot be sliced there: load the model "
            "and apply the result to it."
        )
    tensors = [tensor for file in files for tensor in read_tensor_file(file).tensors]
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    return understand_source(sparse_model.model, sparse_model.layers, shapes)


def write_sliced_files(
    directory: str | Path,
    files: Sequence[str | Path],
    tensors: SourceTensors,
    kept_experts: Mapping[int, Sequence[int]],
    carry_unbuilt: bool = True,
) -> int:
    """Write each file anew with the kept experts: names, order, dtypes and metadata stay, and all other bytes.

    Args:
        directory: An empty folder.
        files: The files of weights of the whole model.
        tensors: What their tensors are, from [`check_files`].
        kept_experts: The kept experts of decoder layers, ascending; layers that are not named stay whole.
        carry_unbuilt: Whether tensors of modules that the class does not build come along, as they are.

    Returns:
        Bytes of all tensors that were written.

    Raises:
        TensorFileError: A file is damaged.
    """
    directory = Path(directory)
    left_out = () if carry_unbuilt else tensors.unbuilt
    index: dict[str, tuple[str, Selection]] = {}
    for file in files:
        source = read_tensor_file(file)
        chosen = [each for each in _selections(source, tensors.held, kept_experts) if each.tensor.name not in left_out]
        if chosen or not source.tensors:
            name = Path(file).name
            write_tensor_file(directory / name, chosen, source.metadata)
            index |= {each.name: (name, each) for each in chosen}
    if len(files) > 1:
        _write_index(directory, index)
    return sum(each.num_bytes for _, each in index.values())


def _selections(source: TensorFile, held: Mapping[str, Held], kept: Mapping[int, Sequence[int]]) -> list[Selection]:
    chosen = (_selection(tensor, held.get(tensor.name), kept) for tensor in source.tensors)
    return [each for each in chosen if each is not None]


def _selection(tensor: StoredTensor, held: Held | None, kept: Mapping[int, Sequence[int]]) -> Selection | None:
    """What stays of a tensor; `None` where it is of an expert that goes."""
    if held is None or held.layer not in kept:
        return Selection(tensor, tensor.name)
    count = held.count * (held.blocks if isinstance(held, AllExperts) else 1)
    stay = [expert - held.first for expert in kept[held.layer] if 0 <= expert - held.first < count]
    if isinstance(held, OneExpert):
        parts = tensor.name.split(".")
        number = int(parts[held.place])
        if number < count and number not in stay:
            return None
        parts[held.place] = str(stay.index(number) if number < count else len(stay) + number - count)
        return Selection(tensor, ".".join(parts))
    axis = held.axis
    entries = [expert * axis.rows + row for expert in stay for row in range(axis.rows)]
    entries += range(count * axis.rows, count * axis.rows + axis.extra)
    return Selection(tensor, tensor.name, axis.axis, entries, held.blocks)


def _write_index(directory: Path, index: Mapping[str, tuple[str, Selection]]) -> None:
    total = sum(each.num_bytes for _, each in index.values())
    content = {
        "metadata": {"total_size": total},
        "weight_map": {name: file for name, (file, _) in sorted(index.items())},
    }
    (directory / SAFE_WEIGHTS_INDEX_NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
