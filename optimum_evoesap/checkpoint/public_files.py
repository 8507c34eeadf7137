# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What of a folder is of its checkpoint, and the files that others see in another form than this machine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..configuration import EvoESAPConfig
from ..reports.public import public_config, public_result
from ..reports.result import RESULT_NAME, PruningResult
from .earlier import UNLISTED, WEIGHTS, fitting, listed_files
from .exchange import file_names, listed_names


# Where no result lists the files, as after training: what transformers writes beside weights, and the code it loads.
_OF_A_CHECKPOINT = (
    *(*WEIGHTS, *UNLISTED, RESULT_NAME, "*.model", "*.tiktoken", "LICENSE*"),
    *("modeling_*.py", "configuration_*.py", "tokenization_*.py", "*process*_*.py", "feature_extraction_*.py"),
)


def own_files(folder: Path) -> tuple[list[str], list[str]]:
    """The files of a checkpoint, and the others in its folder, which are somebody's own.

    Args:
        folder: The folder.

    Returns:
        Names, with `/` between the parts.
    """
    present, record = file_names(folder), folder / RESULT_NAME
    if listed_names(record):
        own = {RESULT_NAME, *listed_files(record.read_bytes(), present)}
    else:
        own = set(fitting(present, _OF_A_CHECKPOINT))
    return sorted(own), sorted(set(present) - own)


def write_public_files(target: Path, result: PruningResult, config: EvoESAPConfig) -> None:
    """Write a result and its configuration without names of files and folders of this machine.

    Args:
        target: Where they are written.
        result: The record of the run.
        config: Its configuration.
    """
    EvoESAPConfig(**public_config(config.to_dict(), result)).save_pretrained(target)
    public_result(result).save(target)


def write_public_files_of(folder: Path, names: Collection[str], target: Path) -> None:
    """The same for those that lie in a folder; what is public as it is, is not written again.

    Args:
        folder: The folder of the checkpoint.
        names: Its files.
        target: Where they are written.

    Raises:
        ValueError: A file is not what its name says.
    """
    if RESULT_NAME not in names:
        return
    result = PruningResult.load(folder)
    if EvoESAPConfig.CONFIG_NAME in names:
        config = EvoESAPConfig.from_pretrained(folder)
        public = public_config(config.to_dict(), result)
        if public != config.to_dict():
            EvoESAPConfig(**public).save_pretrained(target)
    if result.seal or public_result(result) != result:
        public_result(result).save(target)
