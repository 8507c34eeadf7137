# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write a pruned model as a plain transformers checkpoint: all of it, or nothing."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .configuration import EvoESAPConfig
from .durable import sync
from .folder_lock import LOCK_NAME, STATE_FOLDER
from .hub import base_card_metadata, check_remote_code, create_model_card, push_folder, set_remote_code
from .hub.names import clean_value, is_hub_id
from .hub.push import REPLACED
from .hub.remote_code import CODE
from .result import RESULT_NAME, PruningResult


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo
    from transformers import PreTrainedModel

    from .loading import Processor


logger = logging.getLogger(__name__)


def check_output_folder(directory: str | Path, model_path: str | None = None) -> None:
    """Refuse a folder that holds something other than an earlier result or the state of a killed run.

    Args:
        directory: Where the pruned model is to go.
        model_path: Where the model to prune came from, if that is known.

    Raises:
        FileExistsError: The folder holds something else, the model itself, or is a file.
    """
    directory = Path(directory)
    if model_path and directory.is_dir() and os.path.isdir(model_path) and directory.samefile(model_path):
        raise FileExistsError(
            f"{directory} holds the model that is to be pruned; give another folder, so that it is not lost."
        )
    if directory.is_file():
        raise FileExistsError(f"{directory} is a file; give the path of a folder for the pruned model.")
    if not directory.is_dir() or (directory / RESULT_NAME).is_file():
        return
    others = sorted(path.name for path in directory.iterdir() if path.name != STATE_FOLDER)
    if others:
        raise FileExistsError(
            f"{directory} holds {', '.join(others[:3])}{' and more' if len(others) > 3 else ''}, which is not a "
            "result of optimum-evoesap; give an empty or new folder for the pruned model."
        )


def warn_of_replacement(directory: str | Path) -> None:
    """Say before the work, not after it, that a finished result in the folder will be gone."""
    if (Path(directory) / RESULT_NAME).is_file():
        logger.warning("%s holds an earlier result, which this one will replace.", directory)


def write_checkpoint(
    directory: str | Path,
    model: PreTrainedModel,
    tokenizer: Processor | None,
    config: EvoESAPConfig,
    result: PruningResult,
    remote_code: bool = False,
    **save_kwargs: Any,
) -> None:
    """Save model, tokenizer, configurations, result and model card into `directory`.

    Everything is written into the folder of the run's state first and moved at the end, so that a kill never leaves
    something that loads and is half a checkpoint. Weights of an earlier result are removed; other files stay. A folder
    that others may know is to be held by a [`FolderLock`].

    Args:
        directory: The output folder.
        model: The pruned model; weights go into safetensors, in shards.
        tokenizer: Saved too where there is one; a processor with its tokenizer.
        config: Written as `evoesap_config.json`.
        result: Written as `evoesap_result.json`.
        remote_code: Add the code that loads it with `trust_remote_code=True`, without this package.
        **save_kwargs: Go to the model's `save_pretrained`, such as `max_shard_size`.

    Raises:
        OSError: The folder cannot be written.
        ValueError: `remote_code` with a model that brings code of its own.
    """
    if remote_code:
        check_remote_code(model)
    directory = Path(directory)
    state = directory / STATE_FOLDER
    partial = state / "checkpoint"
    clear_partial_checkpoint(directory)
    partial.mkdir(parents=True)
    model.save_pretrained(partial, **save_kwargs)
    has_remote_code = set_remote_code(partial, model, remote_code)
    if tokenizer is not None:
        tokenizer.save_pretrained(partial)
    config.save_pretrained(partial)
    result.save(partial)
    _write_card(partial, config, result, has_remote_code)
    _move_into_place(partial, directory)
    try:
        _remove_state(state)
    except OSError as error:
        logger.warning("The result is whole, but what the run left in %s cannot be removed: %s", state, error)


def clear_partial_checkpoint(directory: str | Path) -> None:
    """Remove what an earlier run was writing when it was killed.

    Raises:
        OSError: It cannot be removed; a run finds that out before its work.
    """
    partial = Path(directory) / STATE_FOLDER / "checkpoint"
    if partial.exists():
        shutil.rmtree(partial)


def push_checkpoint(
    directory: str | Path, config: EvoESAPConfig, result: PruningResult, repo_id: str, **options: Any
) -> CommitInfo:
    """Push a saved checkpoint; its card, configuration and result then name the repository and no local file.

    Args:
        directory: What [`write_checkpoint`] wrote.
        config: The configuration of the run.
        result: Its record.
        repo_id: The repository.
        **options: Go to [`push_folder`].
    """
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder)
        _write_without_local_paths(config, result, public)
        has_remote_code = (Path(directory) / CODE.name).is_file()
        _write_card(public, config, result, has_remote_code, repo_id, options.get("token"))
        return push_folder(directory, repo_id, in_place_of=public, **options)


def _write_card(
    folder: Path,
    config: EvoESAPConfig,
    result: PruningResult,
    has_remote_code: bool,
    repo_id: str | None = None,
    token: str | bool | None = None,
) -> None:
    base = base_card_metadata(result.base_model, token=token)
    card = create_model_card(
        result, config.to_dict(), base_card_data=base, repo_id=repo_id, has_remote_code=has_remote_code
    )
    card.save(folder / "README.md")


def _move_into_place(partial: Path, directory: Path) -> None:
    """Move the result first, by which the next run knows the folder as its own, and last the config, which loads."""
    for path in partial.rglob("*"):
        sync(path)
    (directory / "config.json").unlink(missing_ok=True)
    os.replace(partial / RESULT_NAME, directory / RESULT_NAME)
    for old in [path for pattern in REPLACED for path in directory.glob(pattern)]:
        old.unlink()
    for new in sorted(partial.iterdir(), key=lambda path: path.name == "config.json"):
        old = directory / new.name
        if new.is_dir() and old.is_dir():
            shutil.rmtree(old)  # a folder, such as that of further chat templates, replaces only an empty one
        os.replace(new, old)
    sync(directory)


def _remove_state(state: Path) -> None:
    """Remove the finished work, and the folder too unless the run's lock lies in it."""
    for path in state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_NAME:
            path.unlink()
    if not any(state.iterdir()):
        state.rmdir()


def _write_without_local_paths(config: EvoESAPConfig, result: PruningResult, directory: Path) -> None:
    """Write config and result for the public, without the names of files of this machine."""
    EvoESAPConfig(**clean_value(config.to_dict())).save_pretrained(directory)
    data = {kind: clean_value(summary) for kind, summary in result.data.items()}
    base_model = result.base_model if is_hub_id(result.base_model) else None
    replace(result, base_model=base_model, data=data).save(directory)
