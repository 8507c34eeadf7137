# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One file of a checkpoint, wherever that is: its own path, its folder, or its repository on the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FoundFile:
    """A file that was found.

    Attributes:
        path: Where it lies on this machine.
        place: What the user named; of what lies on this machine the absolute path, which is none of the Hub.
        commit: Commit of the repository, where it came from the Hub.
    """

    path: Path
    place: str
    commit: str | None = None


def find_file(
    place: str | Path,
    name: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> FoundFile:
    """Find a file; one on the Hub is downloaded.

    Args:
        place: The file, its folder, or the id of its repository.
        name: Name of the file in a folder or repository.
        revision: Branch, tag or commit of the repository.
        token: Access token for the Hub.
        cache_dir: Where downloads are kept.

    Raises:
        FileNotFoundError: There is no such file, folder or repository file.
        OSError: The Hub has no such repository, or cannot be reached.
        ValueError: `place` is neither a path nor the id of a repository.
    """
    local = Path(place).expanduser()
    if local.is_dir():
        local /= name
    if local.is_file():
        return FoundFile(local, str(Path(place).expanduser().absolute()))
    if local.name == name or local.suffix == Path(name).suffix or is_path(str(place)):
        raise FileNotFoundError(
            f"There is no {local}; give a folder or a repository on the Hub that holds {name}, or that file itself."
        )
    return _download(str(place), name, revision, token, cache_dir)


def check_token(token: str | bool | None) -> None:
    """Raise where an access token, given or stored, cannot be one; what sends it would show it in an error.

    Args:
        token: As `from_pretrained` takes it.

    Raises:
        ValueError: It holds characters that no token has.
    """
    from huggingface_hub import get_token

    text = token if isinstance(token, str) else get_token() if token is not False else None
    if text is not None and not (text.isascii() and text.isprintable() and text == text.strip() and text):
        raise ValueError(
            "The access token holds a blank, a line break or another character that no token has: copy it once more "
            "from https://huggingface.co/settings/tokens."
        )


def is_path(place: str) -> bool:
    """Whether this can only be a path, and is no id of a repository on the Hub."""
    return place.startswith((".", "/", "~")) or place.count("/") > 1


def _download(
    repo_id: str, name: str, revision: str | None, token: str | bool | None, cache_dir: str | Path | None
) -> FoundFile:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from transformers.utils.hub import extract_commit_hash

    check_token(token)
    try:
        path = hf_hub_download(repo_id, name, revision=revision, token=token, cache_dir=cache_dir)
    except LocalEntryNotFoundError:
        raise  # the Hub cannot be reached, which its own message says
    except EntryNotFoundError as error:
        at = f" (revision {revision})" if revision else ""
        raise FileNotFoundError(
            f"{repo_id}{at} on the Hub holds no {name}; was it made with optimum-evoesap?"
        ) from error
    return FoundFile(Path(path), repo_id, extract_commit_hash(path, None))
