# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Push a checkpoint that an earlier run has saved."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..configuration import EvoESAPConfig
from ..reports.result import RESULT_NAME, PruningResult
from .push import files_to_push
from .write import push_checkpoint


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


logger = logging.getLogger(__name__)

# What a checkpoint may hold; a folder may have come to hold other things since, which are nobody's business.
_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.py", "merges.txt", "vocab.txt", "README.md", "LICENSE*")
_FOLDERS = ("additional_chat_templates", "figures", ".eval_results")


def push_saved(directory: str | Path, repo_id: str, **options: Any) -> CommitInfo:
    """Push the files of a pruned checkpoint; what else lies in its folder stays there, of which a warning is logged.

    As in the push of a run, card, configuration and result then name the repository and no file of this machine.

    Args:
        directory: The folder of a run.
        repo_id: The repository.
        **options: Go to [`push_folder`].

    Raises:
        FileNotFoundError: The folder is not that of a run, or not whole.
        ValueError: As [`push_folder`], or a file of the run is damaged.
    """
    directory = Path(directory)
    for name in (RESULT_NAME, EvoESAPConfig.CONFIG_NAME, "config.json"):
        if not (directory / name).is_file():
            raise FileNotFoundError(
                f"There is no {directory / name}: give the folder that a run of optimum-evoesap saved its checkpoint "
                "to; other folders can be pushed with `hf upload`."
            )
    config, result = EvoESAPConfig.from_pretrained(directory), PruningResult.load(directory)
    names = files_to_push(directory)
    own = [name for name in names if _is_of_checkpoint(name)]
    _report_others(sorted({*names} - {*own}))
    return push_checkpoint(directory, own, config, result, repo_id, **options)


def _is_of_checkpoint(name: str) -> bool:
    first, *others = PurePosixPath(name).parts
    return first in _FOLDERS if others else any(fnmatchcase(first, pattern) for pattern in _FILES)


def _report_others(names: Sequence[str]) -> None:
    if names:
        shown = ", ".join(names[:5]) + (" and more" if len(names) > 5 else "")
        logger.warning("Not pushed, as they are no files of a checkpoint: %s.", shown)
