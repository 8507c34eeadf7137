# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write float32 tensors of the base model as they were there, which loading has cast."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file


logger = logging.getLogger(__name__)

_INDEX = "model.safetensors.index.json"


def restore_dtypes(
    folder: Path, sources: Mapping[str, Path], kept_experts: Mapping[int, Sequence[int]] | None
) -> tuple[list[str], list[str]]:
    """Put the values of the base model's files, in their dtype, in the place of those that loading has cast.

    Only where a cast of them gives bit for bit what was written: what was trained since stays as it is. So the class
    loads the same numbers from both, and what computes in float32 gets those of the base model.

    Args:
        folder: The checkpoint; its safetensors files are changed, one in memory at a time.
        sources: The files of the base model that hold such tensors, by the tensors' names.
        kept_experts: For each decoder layer, the kept experts by their index in the base model; `None` to find
            out only what was cast.

    Returns:
        The names of the tensors that are float32 again, and of those that could not be.
    """
    restored: list[str] = []
    cast: list[str] = []
    added = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            found = [name for name in tensors.keys() if name in sources]  # noqa: SIM118  (it is no dict)
            narrow = [name for name in found if tensors.get_slice(name).get_dtype() not in ("F32", "F64")]
            metadata = tensors.metadata()
            whole = {} if kept_experts is None else _from_sources(narrow, tensors, sources, kept_experts)
        if whole:
            tensors = load_file(file)
            added += sum(tensor.nbytes - tensors[name].nbytes for name, tensor in whole.items())
            save_file({**tensors, **whole}, file, metadata=metadata)
        restored += whole
        cast += [name for name in narrow if name not in whole]
    if restored:
        _correct_size(folder, added)
        logger.info("%d tensors are written as float32, as in the base model, such as %s.", len(restored), restored[0])
    if cast:
        logger.warning(
            "%d tensors of the base model are float32, and are written in the dtype of the loaded model, %s: %s.",
            len(cast),
            "as a size is asked for" if kept_experts is None else "since they were changed or are packed otherwise",
            ", ".join(cast[:4]),
        )
    return sorted(restored), sorted(cast)


def _from_sources(
    names: Sequence[str], written: Any, sources: Mapping[str, Path], kept_experts: Mapping[int, Sequence[int]]
) -> dict[str, torch.Tensor]:
    found = {name: _from_source(name, written.get_tensor(name), sources[name], kept_experts) for name in names}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _from_source(
    name: str, written: torch.Tensor, file: Path, kept_experts: Mapping[int, Sequence[int]]
) -> torch.Tensor | None:
    """The tensor of the base model, of the kept experts alone; `None` where it is not the one that was written."""
    try:
        with safe_open(file, "pt") as tensors:
            wide = tensors.get_tensor(name)
    except (OSError, SafetensorError) as error:
        logger.warning("%s of the base model cannot be read any more from %s: %s", name, file, error)
        return None
    if wide.dim() != written.dim():
        return None
    for axis, (before, after) in enumerate(zip(wide.shape, written.shape)):
        if before != after:
            kept = _kept_in(name, kept_experts)
            if kept is None or len(kept) > after or max(kept) >= before:
                return None
            # After the routed experts some routers have those that do nothing, which all stay.
            kept += range(before - (after - len(kept)), before)
            wide = wide.index_select(axis, torch.tensor(kept))
    if wide.shape != written.shape or not torch.equal(wide.to(written.dtype), written):
        return None
    return wide.contiguous()


def _kept_in(name: str, kept_experts: Mapping[int, Sequence[int]]) -> list[int] | None:
    """The kept experts of the decoder layer that a tensor's name tells."""
    numbers = (int(number) for number in re.findall(r"(?:^|\.)(\d+)(?=\.)", name))
    return next((list(kept_experts[number]) for number in numbers if number in kept_experts), None)


def _correct_size(folder: Path, added: int) -> None:
    """Let the index of the shards, where there is one, tell the size that they have now."""
    index = folder / _INDEX
    if not index.is_file():
        return
    content = json.loads(index.read_text(encoding="utf-8"))
    content["metadata"]["total_size"] += added
    index.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
