# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Apply a result to the files of a checkpoint: the model is not loaded, and no weight is read as numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..configuration import EvoESAPConfig
from ..models.loading import load_bare_model
from ..models.origin import ModelOrigin, absolute_if_local
from ..models.processors import Processor, find_processor, load_processor, source_kwargs
from ..models.size import model_size
from ..models.source_experts import SourceTensors
from ..models.sparse_model import SparseModel
from ..models.weight_files import weight_files
from ..reports.applied import applied_result, configuration_of, read_result
from ..reports.base_card import base_card_metadata
from ..reports.base_check import check_result, warn_of_another_base
from ..reports.result import PruningResult
from ..run.folder_lock import FolderLock
from .files import check_output_folder, output_folder, warn_of_replacement
from .rehearsal import rehearse
from .remote_code import check_remote_code
from .shards import check_files, write_sliced_files
from .write import write_checkpoint


logger = logging.getLogger(__name__)


def apply_to_files(
    path: str | Path,
    result: PruningResult | str | Path | Mapping[int, Sequence[int]],
    save_directory: str | Path,
    tokenizer: Processor | str | Path | None = None,
    remote_code: bool = False,
    **source: Any,
) -> PruningResult:
    """Write the pruned checkpoint of a model by slicing its files, tensor by tensor.

    Names, order, number formats and metadata of the files stay as they are; experts that stay keep all their bytes, so
    quantized ones need not be dequantized. As nothing is computed, a processor and the memory for a part of one tensor
    are enough, whatever the size of the model.

    Args:
        path: Folder or Hub id of the model.
        result: What stays, as [`MoEPruner.apply`] takes it.
        save_directory: A new or empty folder, or one with an earlier result, which is replaced.
        tokenizer: A tokenizer or processor, or its folder or Hub id; by default the one beside the model.
        remote_code: As in [`MoEPruner.save_pretrained`].
        **source: Arguments of `from_pretrained` that say where files come from, such as `revision`.

    Returns:
        The record that is written beside the checkpoint. It has no digest of the weights, which are not read.

    Raises:
        ValueError: The result does not fit the model, its weights are not in safetensors, or hold experts in a way
            that cannot be sliced; before anything is written.
        FileExistsError: `save_directory` holds something else, or the model itself.
        FolderInUseError: A run is writing into `save_directory`.
        OSError: A file cannot be read or written.
    """
    path, folder = absolute_if_local(path), output_folder(save_directory)
    assert folder is not None
    check_output_folder(folder, path)
    sparse_model = SparseModel(load_bare_model(path, **source))
    sparse_model.origin = ModelOrigin.loaded(path, source_kwargs(source))
    model = sparse_model.model
    if remote_code:
        check_remote_code(model)
    found = read_result(result, sparse_model)
    config = configuration_of(found, EvoESAPConfig())
    _, candidate = check_result(found, sparse_model, config)
    sparse_model.check_rebuild()
    files = weight_files(path, **source)
    tensors = check_files(files, sparse_model, path)
    if isinstance(tokenizer, (str, Path)):
        tokenizer = load_processor(absolute_if_local(tokenizer))
    processor = find_processor(path, **source) if tokenizer is None else tokenizer
    model.to(model.config.dtype or torch.get_default_dtype())
    warn_of_another_base(found, model, None)
    record = applied_result(found, sparse_model, candidate, processor, None)
    # Of a quantized model the files tell more than the class does.
    size = sum(file.stat().st_size for file in files)
    record.size_in_bytes["before"] = size
    # Layers that the class does not build read the number of experts of all others.
    carry_unbuilt = len(set(map(len, candidate.values()))) > 1
    _report_unbuilt(tensors, carry_unbuilt)
    with FolderLock(folder):
        warn_of_replacement(folder)
        rehearse(folder, model, processor, config, size)
        sparse_model.remove(candidate)
        record.parameters["after"] = model_size(model)[0]
        base = base_card_metadata(path, source.get("token"), sparse_model.origin.revision)

        def write_weights(into: Path) -> set[str]:
            written = write_sliced_files(into, files, tensors, candidate, carry_unbuilt)
            record.size_in_bytes["after"] = written
            # A file of which nothing stays is not written.
            check_files(sorted(into.glob("*.safetensors")), sparse_model, str(into))
            return {*tensors.unbuilt, *tensors.unbuilt.values()}

        write_checkpoint(
            folder,
            model,
            processor,
            config,
            record,
            remote_code=remote_code,
            base_card=base,
            write_weights=write_weights,
        )
    return record


def _report_unbuilt(tensors: SourceTensors, are_carried: bool) -> None:
    if tensors.unbuilt:
        logger.warning(
            "%d tensors of modules that the class does not build, such as %s, %s.",
            len(tensors.unbuilt),
            min(tensors.unbuilt),
            "come along as they are"
            if are_carried
            else "are left out: they would have to have as few experts as the other layers",
        )
