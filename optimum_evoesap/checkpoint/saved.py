# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Push a checkpoint that an earlier run has saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configuration import EvoESAPConfig
from ..reports.base_card import base_card_metadata
from ..reports.result import RESULT_NAME, PruningResult
from .push import files_to_push
from .write import push_checkpoint


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


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
    given = (files_to_push(directory), config, result, repo_id)
    # What its card took over from that of the base model stays.
    return push_checkpoint(directory, *given, base_card=base_card_metadata(str(directory)), **options)
