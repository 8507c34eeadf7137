# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The output folder of a run: whether it may be written, and what is replaced in it."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from ..reports.front import FRONT_NAME, point_folders
from ..reports.ranking import RANKING_NAME
from ..reports.result import RESULT_NAME, PruningResult
from ..run.folder_lock import LOCK_NAME, STATE_FOLDER
from .earlier import checkpoints_of_others
from .exchange import PARTIAL, check_places, is_exchanging, listed_names, undo_exchange


logger = logging.getLogger(__name__)

REHEARSAL = "rehearsal"


def output_folder(directory: str | Path | None) -> Path | None:
    """The absolute path of an output folder, so that it stays the same when the working directory changes.

    Args:
        directory: As the user gives it; `~` is the home folder.
    """
    return None if directory is None else Path(directory).expanduser().absolute()


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
    if not directory.is_dir() or is_exchanging(directory):
        return  # what a killed run moved away is put back first, by whoever holds the folder
    if (directory / RESULT_NAME).is_file():
        _check_is_ours(directory)
        return
    _refuse(directory, [path.name for path in directory.iterdir() if path.name != STATE_FOLDER], "the pruned model")


def _check_is_ours(directory: Path) -> None:
    """A name proves nothing: the result has to be one, and to list the checkpoint beside it."""
    try:
        PruningResult.load(directory)
    except ValueError as error:
        raise FileExistsError(
            f"What lies in {directory} is taken for that of others: {error}. Give another folder, or remove the file."
        ) from error
    others = checkpoints_of_others(directory)
    if others:
        raise FileExistsError(
            f"{directory} holds {', '.join(others[:3])}{' and more' if len(others) > 3 else ''}, which its "
            f"{RESULT_NAME} does not list, so it is not of that result and is not replaced: give another folder."
        )
    check_places(directory, listed_names(directory / RESULT_NAME))


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
    paths = list(directory.iterdir()) if directory.is_dir() else []
    _refuse(directory, [path.name for path in paths if not _is_of_front(path)], "the front")
    try:
        for folder in point_folders(directory) if paths else ():
            PruningResult.load(folder)
    except (ValueError, OSError) as error:
        raise FileExistsError(
            f"What lies in {directory} is taken for that of others: {error}. Give another folder, or remove the file."
        ) from error


def _is_of_front(path: Path) -> bool:
    # Of a killed run there may be results of points alone, and the front half written.
    is_point = path.is_dir() and {inner.name for inner in path.iterdir()} <= {RESULT_NAME}
    return is_point or path.name in (STATE_FOLDER, RANKING_NAME) or path.name.startswith(FRONT_NAME)


def _check_is_folder(directory: Path, model_path: str | None) -> None:
    if model_path and directory.is_dir() and os.path.isdir(model_path) and directory.samefile(model_path):
        raise FileExistsError(
            f"{directory} holds the model that is to be pruned; give another folder, so that it is not lost."
        )
    if directory.is_symlink() and not directory.exists():
        raise FileExistsError(
            f"{directory} is a link to {os.readlink(directory)}, which is not there: make it, or give another folder."
        )
    if os.path.lexists(directory) and not directory.is_dir():
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
    """Remove what an earlier run was writing when it was killed, and put back what it had moved away.

    Raises:
        OSError: It cannot be removed; a run finds that out before its work.
    """
    undo_exchange(Path(directory))
    for name in (PARTIAL, REHEARSAL):
        path = Path(directory) / STATE_FOLDER / name
        if path.exists():
            shutil.rmtree(path)


def remove_state(state: Path) -> None:
    """Remove the finished work, and the folder too unless the run's lock lies in it."""
    for path in state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_NAME:
            path.unlink()
    if not any(state.iterdir()):
        state.rmdir()


def end_state(directory: str | Path) -> None:
    """Remove what a run kept to go on with, once its result is whole; where that fails, say so.

    Args:
        directory: The output folder.
    """
    state = Path(directory) / STATE_FOLDER
    try:
        remove_state(state)
    except OSError as error:
        logger.warning("The result is whole, but what the run left in %s cannot be removed: %s", state, error)
