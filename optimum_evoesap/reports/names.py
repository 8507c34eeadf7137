# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which names in a record are on the Hub, and which are local paths that no model card may show."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from ..data.public_names import LOCAL_DATA


LOCAL_MODEL = "a local model"

_DATA_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet", ".csv", ".tsv", ".txt", ".arrow")
_PATH_START = re.compile(r"/.|\\|~\w*/|\.{1,2}(/|\\|$)|[A-Za-z]:[\\/]|file:")
# One word of free text, without the marks that may enclose it; a Windows drive keeps its colon.
_WORD = re.compile(r"""(?:[A-Za-z]:[\\/])?[^\s,;=|<>'"`()\[\]]+""")
# `name@revision:samples` is how one data set of a mixture is written.
_MIXTURE_ENTRY = re.compile(r"(?P<name>.*?)(?P<rest>(?:@[^@:/\\]+)?(?::\d+)?)", re.DOTALL)


def is_local_path(text: str) -> bool:
    """Whether `text` names a file or folder of this machine; a folder wins over a Hub id, as it does in loading."""
    if _PATH_START.match(text) or "\\" in text or text.lower().endswith(_DATA_SUFFIXES):
        return True
    return bool(text.strip("/")) and "/" in text and os.path.exists(text)


def is_hub_id(name: str | None) -> bool:
    """Whether `name` is a full Hub id, `namespace/name`, and not a folder of this machine."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    # The Hub's own check lets a line break at the end pass.
    if not isinstance(name, str) or name.count("/") != 1 or re.search(r"\s", name) or is_local_path(name):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def dataset_names(mixture: Any) -> list[str]:
    """The names in `name:samples,name@revision:samples`, Hub ids and local paths alike."""
    if not isinstance(mixture, str):
        return []
    entries = (entry.strip() for entry in mixture.split(","))
    return [_MIXTURE_ENTRY.fullmatch(entry)["name"] for entry in entries if entry]  # type: ignore[index]


def public_dataset(mixture: str) -> str:
    """A mixture with "local data" for each name that is not surely one of the Hub.

    Args:
        mixture: As the configuration names it. Where it is one path, all of it is "local data".
    """
    if is_local_path(mixture) and "," not in mixture:
        return LOCAL_DATA
    entries = [_MIXTURE_ENTRY.fullmatch(entry.strip()) for entry in mixture.split(",") if entry.strip()]
    return ",".join(
        (each["name"] if is_hub_id(each["name"]) else LOCAL_DATA) + each["rest"] for each in entries if each
    )


def without_local_paths(text: str, known_paths: Iterable[str] = ()) -> str:
    """`text` with every local path replaced by "local data".

    Args:
        text: Free text, such as the description of a data set.
        known_paths: Paths that are replaced as they stand; only these may hold spaces.
    """
    for path in sorted(known_paths, key=len, reverse=True):
        text = text.replace(path, LOCAL_DATA)
    if _PATH_START.match(text):
        return LOCAL_DATA  # where a path with spaces ends is unknown

    def replace(word: re.Match[str]) -> str:
        name, tail = re.fullmatch(r"(.*?)((?::\d+)?[.:!?]*)", word[0]).groups()  # type: ignore[union-attr]
        is_url = "://" in name and not name.startswith("file:")
        return LOCAL_DATA + tail if not is_url and is_local_path(name) else word[0]

    return _WORD.sub(replace, text)


def clean_value(value: Any, known_paths: Iterable[str] = ()) -> Any:
    """The same for a configuration: every string in nested lists and dicts; numbers stay as they are.

    Args:
        value: A value of the configuration, or all of it as a dict.
        known_paths: Paths that are replaced as they stand.
    """
    if isinstance(value, dict):
        return {key: clean_value(item, known_paths) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_value(item, known_paths) for item in value]
    if isinstance(value, str):
        return without_local_paths(value, known_paths)
    if isinstance(value, PurePath):
        return LOCAL_DATA
    return value
