# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write before the long work what a result has beside its weights: what cannot be written is found out now."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configuration import EvoESAPConfig
from ..reports.ranking import RANKING_NAME
from ..reports.result import RESULT_NAME
from ..run.disk_errors import writing
from ..run.folder_lock import STATE_FOLDER
from .exchange import CONFIG, check_places, file_names
from .files import REHEARSAL
from .space import check_free_space


if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..models.processors import Processor


_WRITTEN_LATER = ("README.md", "model.safetensors", "model.safetensors.index.json", RANKING_NAME, RESULT_NAME)


def rehearse(
    directory: str | Path | None,
    model: PreTrainedModel,
    tokenizer: Processor | None,
    config: EvoESAPConfig,
    checkpoint_bytes: int,
) -> None:
    """Write config, generation config and tokenizer once, and compare the room with what the checkpoint will need.

    Args:
        directory: The output folder, held by the run; `None` where the checkpoint is pushed from a temporary one.
        model: The model.
        tokenizer: Its tokenizer or processor, if any.
        config: The configuration of the run.
        checkpoint_bytes: About the size of the weights that will be written.

    Raises:
        ValueError: transformers cannot save one of them.
        FileExistsError: Something of others is in the place of a file.
        OSError: The folder cannot be written, or there is too little room.
    """
    if directory is None:
        with tempfile.TemporaryDirectory() as elsewhere:
            _write_small_files(Path(elsewhere), model, tokenizer, config)
            check_free_space(elsewhere, checkpoint_bytes)
        return
    directory = Path(directory)
    folder = directory / STATE_FOLDER / REHEARSAL
    folder.mkdir()
    try:
        with writing(folder):
            _write_small_files(folder, model, tokenizer, config)
        check_places(directory, sorted({*file_names(folder), *_WRITTEN_LATER}))
        check_free_space(directory, checkpoint_bytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # of a kill, and of what cannot be removed, the next run takes care


def config_parts(model: PreTrainedModel) -> dict[str, Any]:
    """The configs that a checkpoint of a model holds, by the names of their files.

    Args:
        model: The model.
    """
    parts: dict[str, Any] = {CONFIG: model.config}
    if model.can_generate() and model.generation_config is not None:
        parts["generation_config.json"] = model.generation_config
    return parts


def _write_small_files(
    folder: Path, model: PreTrainedModel, tokenizer: Processor | None, config: EvoESAPConfig
) -> None:
    parts: dict[str, Any] = config_parts(model) | {"evoesap_config.json": config}
    if tokenizer is not None:
        parts[f"the {type(tokenizer).__name__}"] = tokenizer
    for name, part in parts.items():
        _save(part.save_pretrained, folder, name)


def _save(save: Callable[[Path], Any], folder: Path, name: str) -> None:
    try:
        with writing(folder):
            save(folder)
    except OSError:
        raise
    except Exception as error:
        # Whatever a value in it leads to: the same would happen after the work.
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{name} of the model cannot be saved, so the pruned model could not be either; correct it in the loaded "
            f"model, or in the files that it is loaded from: {reason}"
        ) from error
