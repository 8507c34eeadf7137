# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The files of weights of a checkpoint, in a folder or on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.hub import get_checkpoint_shard_files


# What says where files come from, as functions of transformers that find files take it.
_SOURCE = ("revision", "token", "cache_dir", "local_files_only", "force_download", "proxies", "subfolder")


def weight_files(path: str, **source: Any) -> list[Path]:
    """The safetensors files of a checkpoint, in the order of their names; those of the Hub are downloaded.

    Args:
        path: Folder or Hub id.
        **source: Arguments of `from_pretrained` that say where files come from; others are left out.

    Returns:
        The files; none where its weights are in another format.

    Raises:
        OSError: A file is missing, or the Hub cannot be reached.
    """
    source = {name: value for name, value in source.items() if name in _SOURCE}
    quiet = {"_raise_exceptions_for_missing_entries": False}
    whole = cached_file(path, SAFE_WEIGHTS_NAME, **quiet, **source)
    if whole is not None:
        return [Path(whole)]
    index = cached_file(path, SAFE_WEIGHTS_INDEX_NAME, **quiet, **source)
    if index is None:
        return []
    files, _ = get_checkpoint_shard_files(path, index, **source)
    return sorted(map(Path, files))
