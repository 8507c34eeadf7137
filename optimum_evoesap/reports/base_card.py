# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the card of a base model says that holds for the pruned one too. Anything may stand in it: others wrote it."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from .names import is_hub_id


logger = logging.getLogger(__name__)

# Each is a text, or a list of them; of some the Hub takes one text alone.
CARRIED_OVER = ("license", "license_name", "license_link", "language", "datasets", "pipeline_tag")
_ONE_TEXT = ("license_name", "license_link", "pipeline_tag")
_MOST_CHARACTERS = 1_000_000
_METADATA = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def base_card_metadata(
    base_model: str | None, token: str | bool | None = None, revision: str | None = None
) -> dict[str, Any]:
    """What a pruned model takes over from the card of its base model: license, language, data sets and task.

    Args:
        base_model: A local folder with a `README.md`, a Hub id, or `None`.
        token: Access token for a gated or private base model.
        revision: Branch, tag or commit that the model was loaded from.

    Returns:
        The metadata, `{}` when there is no card or it cannot be reached; without the values that are none. That is
        logged and never an error: a long run must not fail because a card is missing.
    """
    import yaml
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HTTPError

    if base_model is None:
        return {}
    try:
        found = _read(base_model, token, revision)
    # HTTPError is the broken connection, OSError also the offline mode, ValueError also a name that is no Hub id, or
    # bytes that are no text; YAML may nest too deep.
    except (
        EntryNotFoundError,
        HfHubHTTPError,
        HTTPError,
        OSError,
        ValueError,
        yaml.YAMLError,
        RecursionError,
    ) as error:
        logger.info("No card of the base model %s to take the license and the language from: %s", base_model, error)
        return {}
    metadata = {name: _usable(name, found[name], base_model) for name in CARRIED_OVER if found.get(name) is not None}
    metadata = {name: value for name, value in metadata.items() if value}
    link = metadata.get("license_link")
    if link and "://" not in link and is_hub_id(base_model):
        # A link such as "LICENSE" means a file of the base model's repository, which the pruned one does not have.
        metadata["license_link"] = f"https://huggingface.co/{base_model}/blob/{revision or 'main'}/{link}"
    return metadata


def _read(base_model: str, token: str | bool | None, revision: str | None) -> dict[str, Any]:
    """The values at the start of the card."""
    import yaml
    from huggingface_hub import hf_hub_download

    if Path(base_model).is_dir():
        path = Path(base_model) / "README.md"
    else:
        path = Path(hf_hub_download(base_model, "README.md", revision=revision, token=token))
    with open(path, encoding="utf-8", newline="") as file:
        found = _METADATA.match(file.read(_MOST_CHARACTERS))
    values = yaml.safe_load(found[1]) if found else {}
    if not isinstance(values, dict):
        raise ValueError(f"its metadata are a {type(values).__name__}")
    return values


def _usable(name: str, value: Any, base_model: str) -> str | list[str] | None:
    """A value where it is what the Hub takes under that name, otherwise nothing."""
    listed = value if isinstance(value, list) else [value]
    if name == "language":
        listed = ["no" if each is False else each for each in listed]  # Norwegian, as YAML reads it
    kept = [each for each in listed if _is_text(each) and (name != "datasets" or _is_data_set(each))]
    if len(kept) < len(listed) or (name in _ONE_TEXT and isinstance(value, list)):
        logger.info("The card of %s has a %r that the Hub does not take; it is left out where so.", base_model, name)
    if isinstance(value, list):
        return kept if name not in _ONE_TEXT else None
    return kept[0] if kept else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _is_data_set(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
