# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where a model came from: the Hub, which a card may name, or this machine, of which nothing is published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import PreTrainedModel
from transformers.utils import CONFIG_NAME, cached_file
from transformers.utils.hub import extract_commit_hash


_OF_THE_CONFIG = ("revision", "token", "cache_dir", "local_files_only", "proxies", "subfolder")


class ModelOrigin(NamedTuple):
    """Where a model came from, as its record tells it.

    Attributes:
        name: Hub id, or an absolute path, which nobody can take for one later; `None` for a model made in memory.
        revision: Commit of the Hub that it was loaded from.
    """

    name: str | None
    revision: str | None = None

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelOrigin:
        """That of a model that somebody else has loaded, as it is to be told now.

        Later the working directory may be another one. A name is taken for one of the Hub where the cache has it from
        there; any other may be a folder that was there.

        Args:
            model: The model.
        """
        name = model.config.name_or_path
        if not name:
            return cls(None)
        if Path(name).is_dir() or not _is_cached(name):
            return cls(str(Path(name).absolute()))
        return cls(name)

    @classmethod
    def loaded(cls, path: str, source: Mapping[str, Any]) -> ModelOrigin:
        """That of a model which was loaded from a place just now.

        Args:
            path: Folder, as an absolute path, or Hub id.
            source: The keyword arguments that say where files come from.
        """
        if Path(path).is_dir():
            return cls(path)
        named = {name: value for name, value in source.items() if name in _OF_THE_CONFIG}
        return cls(path, extract_commit_hash(cached_file(path, CONFIG_NAME, **named), None))


def absolute_if_local(place: str | Path) -> str:
    """The absolute path of a folder or file that is there, `~` expanded; anything else, such as a Hub id, as it is.

    Args:
        place: What the user named.
    """
    path = Path(place).expanduser()
    return str(path.absolute()) if path.exists() else str(place)


def _is_cached(name: str) -> bool:
    try:
        return isinstance(try_to_load_from_cache(name, CONFIG_NAME), str)
    except HFValidationError:
        return False
