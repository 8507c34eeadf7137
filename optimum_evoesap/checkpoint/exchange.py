# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Put a whole checkpoint into the place of an earlier result, in an order that can be undone at any moment.

Files are only moved. The config, without which nothing loads, goes first and comes last. Until it has come, the files
of the earlier result lie in the folder of the state, from where whoever comes next puts them back.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from ..reports.result import RESULT_NAME
from ..run.disk_errors import writing
from ..run.durable import PARTIAL_SUFFIX, sync, write_durably
from ..run.folder_lock import STATE_FOLDER
from .earlier import is_inside, listed_in


CONFIG = "config.json"
PARTIAL = "checkpoint"
_EARLIER = "earlier"
_GONE = "gone"


def exchange(partial: Path, directory: Path) -> list[str]:
    """Move a checkpoint into its place, and what an earlier result wrote away; on an error everything is put back.

    Args:
        partial: The whole checkpoint, in the folder of the state of `directory`.
        directory: The output folder.

    Returns:
        The names of the files that are there now, with `/` between the parts.

    Raises:
        FileExistsError: A file or folder that is not of the earlier result is in the place of one of the checkpoint;
            nothing was moved.
        OSError: Something cannot be moved.
    """
    names = file_names(partial)
    check_places(directory, names)
    for path in partial.rglob("*"):
        sync(path)
    try:
        with writing(directory):
            _exchange(partial, directory, names)
    except BaseException:
        undo_exchange(directory)
        raise
    return names


def undo_exchange(directory: Path) -> None:
    """Put an earlier result back where its exchange was broken off; where all was in place already, clear up.

    Args:
        directory: The output folder, held by the run.

    Raises:
        OSError: Something cannot be moved.
    """
    state = directory / STATE_FOLDER
    earlier, partial = state / _EARLIER, state / PARTIAL
    if earlier.is_dir() and (partial / CONFIG).is_file():
        if not (partial / RESULT_NAME).is_file() and _content(directory) != _content(earlier):
            # The list of the new result, while it is there, tells which files are its own.
            new = [name for name in listed_names(directory / RESULT_NAME) if not (partial / name).is_file()]
            _move_all(new, directory, partial, (RESULT_NAME,))
        old = [name for name in file_names(earlier) if not name.endswith(PARTIAL_SUFFIX)]
        _move_all(old, earlier, directory, (RESULT_NAME, CONFIG))
        if not (partial / RESULT_NAME).is_file():
            if (earlier / RESULT_NAME).is_file():
                _copy(earlier / RESULT_NAME, directory / RESULT_NAME, state)
            else:
                (directory / RESULT_NAME).unlink(missing_ok=True)
        _move_all([CONFIG], earlier, directory)
        sync(directory)
    _remove(state)


def is_exchanging(directory: Path) -> bool:
    """Whether a run was killed while it moved a result into a folder.

    Args:
        directory: The output folder.
    """
    return (directory / STATE_FOLDER / _EARLIER).is_dir()


def check_places(directory: Path, names: Iterable[str]) -> None:
    """Refuse a folder that holds something of others in the place of a file.

    Args:
        directory: The output folder.
        names: Names of the files, with `/` between the parts.

    Raises:
        FileExistsError: What is there is no file, or is not of an earlier result.
    """
    if not directory.is_dir():
        return
    ours, root = {RESULT_NAME, *listed_in(directory)}, directory.resolve()
    for name in names:
        path = directory / name
        parents = [directory.joinpath(*Path(name).parts[:depth]) for depth in range(1, len(Path(name).parts))]
        wrong = [each for each in parents if os.path.lexists(each) and not _is_own_folder(each, root, ours, directory)]
        if path.is_dir() or wrong:
            raise FileExistsError(
                f"{(wrong or [path])[0]} is in the place of {name} of the result: move it, or give another folder."
            )
        if os.path.lexists(path) and name not in ours:
            raise FileExistsError(
                f"{path} is not of the earlier result, which does not list it, and would be replaced: move it away, "
                "or give another folder."
            )


def file_names(folder: Path) -> list[str]:
    """Names of all files below a folder, sorted, with `/` between the parts."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def listed_names(record: Path) -> list[str]:
    """The names that a result lists, as far as they stay in its folder; none where it lists none.

    Args:
        record: Its `evoesap_result.json`.
    """
    try:
        names = json.loads(record.read_bytes())["files"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [name for name in listed if is_inside(name)]


def _exchange(partial: Path, directory: Path, names: Collection[str]) -> None:
    earlier = directory / STATE_FOLDER / _EARLIER
    earlier.mkdir()
    if (directory / RESULT_NAME).is_file():
        # A copy: so that at each moment a result lists what is there.
        _copy(directory / RESULT_NAME, earlier / RESULT_NAME, earlier.parent)
    old = listed_in(directory)
    _move_all(sorted(old, key=lambda name: name != CONFIG), directory, earlier)
    os.replace(partial / RESULT_NAME, directory / RESULT_NAME)
    _move_all([name for name in names if name not in (RESULT_NAME, CONFIG)], partial, directory)
    for folder in {(directory / name).parent for name in names}:
        sync(folder)
    _move_all([CONFIG], partial, directory)
    sync(directory)


def _move_all(names: Iterable[str], source: Path, target: Path, without: Collection[str] = ()) -> None:
    """Move files, and remove the folders that get empty by that."""
    for name in names:
        if name in without or not os.path.lexists(source / name):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, target / name)
        parent = (source / name).parent
        while parent != source and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


def _copy(source: Path, target: Path, state: Path) -> None:
    """Without a byte more on a disk that may be full, where it knows links."""
    link = state / f"{RESULT_NAME}{PARTIAL_SUFFIX}"
    try:
        link.unlink(missing_ok=True)
        os.link(source, link)
    except OSError:
        write_durably(target, source.read_bytes())
    else:
        os.replace(link, target)
        link.unlink(missing_ok=True)  # where both were one file already


def _remove(state: Path) -> None:
    """Remove what was moved away: first under another name, so that half of it is never put back."""
    if (state / _EARLIER).is_dir():
        shutil.rmtree(state / _GONE, ignore_errors=True)
        os.replace(state / _EARLIER, state / _GONE)
    if (state / _GONE).is_dir():
        shutil.rmtree(state / _GONE)


def _content(folder: Path) -> bytes | None:
    record = folder / RESULT_NAME
    return record.read_bytes() if record.is_file() else None


def _is_own_folder(path: Path, root: Path, ours: Collection[str], directory: Path) -> bool:
    """Whether a folder lies really in the output folder; a file of the earlier result in its place will be gone."""
    is_folder = path.is_dir() and path.resolve().is_relative_to(root)
    return is_folder or path.relative_to(directory).as_posix() in ours
