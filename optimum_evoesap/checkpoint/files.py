# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The output folder of a run: whether it may be written, and what is replaced in it."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from ..reports.front import FRONT_NAME
from ..reports.ranking import RANKING_NAME
from ..reports.result import RESULT_NAME
from ..run.durable import sync
from ..run.folder_lock import LOCK_NAME, STATE_FOLDER
from .earlier import remove_earlier


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
    _check_is_folder(directory, model_path)
    if not directory.is_dir() or (directory / RESULT_NAME).is_file():
        return
    _refuse(directory, [path.name for path in directory.iterdir() if path.name != STATE_FOLDER], "the pruned model")


def check_front_folder(directory: str | Path, model_path: str | None = None) -> None:
    """Refuse a folder that holds something other than an earlier front or the state of a killed run.

    Args:
        directory: Where the front is to go.
        model_path: Where the model came from, if that is known.

    Raises:
        FileExistsError: The folder holds something else, such as a checkpoint in the folder of a point, or the model
            itself, or is a file.
    """
    directory = Path(directory)
    _check_is_folder(directory, model_path)
    paths = directory.iterdir() if directory.is_dir() else ()
    _refuse(directory, [path.name for path in paths if not _is_of_front(path)], "the front")


def _is_of_front(path: Path) -> bool:
    # Of a killed run there may be results of points alone, and the front half written.
    is_point = path.is_dir() and {inner.name for inner in path.iterdir()} <= {RESULT_NAME}
    return is_point or path.name in (STATE_FOLDER, RANKING_NAME) or path.name.startswith(FRONT_NAME)


def _check_is_folder(directory: Path, model_path: str | None) -> None:
    if model_path and directory.is_dir() and os.path.isdir(model_path) and directory.samefile(model_path):
        raise FileExistsError(
            f"{directory} holds the model that is to be pruned; give another folder, so that it is not lost."
        )
    if directory.is_file():
        raise FileExistsError(f"{directory} is a file; give the path of a folder for what the run makes.")


def _refuse(directory: Path, others: list[str], purpose: str) -> None:
    if others:
        others = sorted(others)
        raise FileExistsError(
            f"{directory} holds {', '.join(others[:3])}{' and more' if len(others) > 3 else ''}, which is not a "
            f"result of optimum-evoesap; give an empty or new folder for {purpose}."
        )


def warn_of_replacement(directory: str | Path) -> None:
    """Say before the work, not after it, that a finished result in the folder will be gone."""
    if (Path(directory) / RESULT_NAME).is_file():
        logger.warning("%s holds an earlier result, which this one will replace.", directory)


def clear_partial_checkpoint(directory: str | Path) -> None:
    """Remove what an earlier run was writing when it was killed.

    Raises:
        OSError: It cannot be removed; a run finds that out before its work.
    """
    partial = Path(directory) / STATE_FOLDER / "checkpoint"
    if partial.exists():
        shutil.rmtree(partial)


def file_names(folder: Path) -> list[str]:
    """Names of all files below a folder, sorted, with `/` between the parts."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def move_into_place(partial: Path, directory: Path) -> list[str]:
    """Move the result first, by which the next run knows the folder as its own, and last the config, which loads.

    Args:
        partial: The whole checkpoint.
        directory: The output folder; what an earlier result wrote into it is removed.

    Returns:
        The names of the files, with `/` between the parts.
    """
    names = file_names(partial)
    for path in partial.rglob("*"):
        sync(path)
    (directory / "config.json").unlink(missing_ok=True)
    # As long as anything of it is left the earlier result lists it, so that also a run after a kill removes it.
    remove_earlier(directory)
    os.replace(partial / RESULT_NAME, directory / RESULT_NAME)
    for new in sorted(partial.iterdir(), key=lambda path: path.name == "config.json"):
        old = directory / new.name
        if new.is_dir() and old.is_dir():
            shutil.rmtree(old)  # a folder, such as that of further chat templates, replaces only an empty one
        os.replace(new, old)
    sync(directory)
    return names


def remove_state(state: Path) -> None:
    """Remove the finished work, and the folder too unless the run's lock lies in it."""
    for path in state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_NAME:
            path.unlink()
    if not any(state.iterdir()):
        state.rmdir()
