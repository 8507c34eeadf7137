# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What an earlier result wrote, so that nothing of it is loaded together with what takes its place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..reports.ranking import RANKING_NAME
from ..reports.result import RESULT_NAME
from ..run.folder_lock import STATE_FOLDER


# Weights are loaded by their names, so those of any other checkpoint go too, whoever wrote them.
WEIGHTS = (
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model-*-of-*.bin",
    "pytorch_model.bin.index.json",
)
# Results of releases that did not list their files: what transformers and this library write beside weights.
UNLISTED = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.*",
    "additional_chat_templates/*",
    "*processor_config.json",
    "modeling_evoesap.py",
    RANKING_NAME,
    "evoesap_config.json",
    "README.md",
)


def earlier_files(result: str | bytes | None, present: Iterable[str]) -> list[str]:
    """Of the files that are there, those that belong to an earlier result, and weights.

    Args:
        result: The text of the `evoesap_result.json` beside them; `None` where there is none.
        present: Names of the files that are there, with `/` between the parts.

    Returns:
        The names, sorted; the result's own is not among them.
    """
    patterns = WEIGHTS if result is None else (*WEIGHTS, *_listed(result))
    return [name for name in fitting(present, patterns) if name != RESULT_NAME]


def listed_files(result: str | bytes | None, present: Iterable[str]) -> list[str]:
    """Of the files that are there, those that a result lists.

    Args:
        result: As for [`earlier_files`].
        present: Likewise.

    Returns:
        The names, sorted; the result's own is not among them.
    """
    patterns = [] if result is None else _listed(result)
    return [name for name in fitting(present, patterns) if name != RESULT_NAME]


def fitting(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that fit one of some patterns, sorted.

    Args:
        names: Names of files, with `/` between the parts.
        patterns: Patterns of as many parts.
    """
    patterns = list(patterns)
    return sorted(name for name in set(names) if any(_fits(name, each) for each in patterns))


def listed_in(directory: Path) -> list[str]:
    """The files in a folder that the result in it lists; none where there is no result.

    Args:
        directory: The output folder.
    """
    record = directory / RESULT_NAME
    # Only what lies in the folder itself: a link to another folder is never followed.
    root = directory.resolve()
    paths = [path for path in directory.rglob("*") if not path.is_dir() and path.parent.resolve().is_relative_to(root)]
    present = [path.relative_to(directory) for path in paths]
    names = [path.as_posix() for path in present if path.parts[0] != STATE_FOLDER]
    return listed_files(record.read_bytes() if record.is_file() else None, names)


def checkpoints_of_others(directory: Path) -> list[str]:
    """Weights and configs in a folder that the result in it does not list.

    Args:
        directory: The output folder.
    """
    present = [path.name for path in directory.iterdir() if not path.is_dir()]
    return sorted({*fitting(present, (*WEIGHTS, "config.json"))} - {*listed_in(directory)})


def _listed(text: str | bytes) -> list[str]:
    """The names that a result lists; those that releases without such a list wrote, where it has none."""
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        return []  # no result of ours, so nothing beside it is known to be ours
    names = values.get("files") if isinstance(values, dict) else []
    if names is None:
        return [*WEIGHTS, *UNLISTED]
    # A file of others may list anything: names are compared with what is in the folder, and never followed out of it.
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [_literal(name) for name in listed if is_inside(name)]


def _fits(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)


def is_inside(name: str) -> bool:
    """Whether the name of a file stays in the folder that it is joined to.

    Args:
        name: The name, with `/` between the parts.
    """
    path = PurePosixPath(name)
    return not (path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\\" in name)


def _literal(name: str) -> str:
    """The pattern that only this name fits."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
