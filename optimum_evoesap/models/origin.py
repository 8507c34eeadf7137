# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where a model came from: the Hub, which a card may name, or this machine, of which nothing is published."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel


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
        """That of a model, as it is to be told now: later the working directory may be another one.

        Only a commit proves that a name is of the Hub. Any other name may be a folder that was there.

        Args:
            model: The model.
        """
        name, commit = model.config.name_or_path, getattr(model.config, "_commit_hash", None)
        if not name:
            return cls(None)
        if commit is None or Path(name).is_dir():
            return cls(str(Path(name).absolute()))
        return cls(name, commit)


def absolute_if_local(place: str | Path) -> str:
    """The absolute path of a folder or file that is there, `~` expanded; anything else, such as a Hub id, as it is.

    Args:
        place: What the user named.
    """
    path = Path(place).expanduser()
    return str(path.absolute()) if path.exists() else str(place)
