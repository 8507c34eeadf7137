# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The config.json of a model, looked at before transformers makes a config of it and builds the model.

transformers believes what it says: a negative number of experts, a million layers or a key that is the name of a
method end in whatever breaks first, or build for hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from msgspec import UNSET, Meta, Struct, UnsetType
from transformers import PretrainedConfig
from transformers.utils import CONFIG_NAME, cached_file

from ..heterogeneous.attributes import is_expert_count
from ..reading import Count, fit, read_json
from ..suggestion import shown


# Far above any model, and built in a minute.
MAX_LAYERS = 4_096
MAX_EXPERTS = 65_536
MAX_EXPERTS_OF_ALL = 2**20

_LAYERS = re.compile(r"(num|n)_(hidden_|decoder_|encoder_)?layers?")
_NO_CONFIGS = ("per_layer_config", "quantization_config", "compression_config")
_NUMBER = re.compile(r"(^|_)(num|n)_")
_REMEDY = "Correct that, or take the file as it is published."


class _Fields(Struct):
    """What this library, or the Auto classes before any other check, read by name."""

    model_type: str | UnsetType = UNSET
    architectures: list[str] | None | UnsetType = UNSET
    auto_map: dict[str, str | list[str | None]] | None | UnsetType = UNSET
    per_layer_config: dict[Annotated[int, Meta(ge=0, lt=MAX_LAYERS)], dict[str, Any]] | None | UnsetType = UNSET
    is_encoder_decoder: bool | None | UnsetType = UNSET
    tie_word_embeddings: bool | None | UnsetType = UNSET
    vocab_size: Count | None | UnsetType = UNSET
    hidden_size: Count | None | UnsetType = UNSET


def check_config_file(path: str, **source: Any) -> None:
    """Refuse a config.json from which no model can be built, by the field.

    Args:
        path: Folder or Hub id of the model.
        **source: The arguments of `from_pretrained` that say where the file comes from.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: The Hub cannot be reached.
        FileContentError: It is no JSON, nested too deeply, or a field has a value that no model has.
    """
    of_code = ("code_revision", "trust_remote_code")
    file = cached_file(path, CONFIG_NAME, **{name: value for name, value in source.items() if name not in of_code})
    if file is None:  # transformers raises where any other file is missing
        raise FileNotFoundError(
            f"{path} holds no {CONFIG_NAME}, so it is no model: give its folder, or its id on the Hub."
        )
    read_json(str(file), dict[str, Any], "the config of a model", _REMEDY, check_config_values)


def check_config_values(values: dict[str, Any]) -> None:
    """Refuse the values of a config from which no model can be built, by the field.

    Args:
        values: They, as config.json has them.

    Raises:
        ValueError: Names the field.
    """
    for where, part in _configs(values, ""):
        for name in part:
            _check_key(where, name)
        _check_fields(where, part)
        _check_numbers(where, part)


@contextmanager
def errors_of_config(path: str, doing: str) -> Iterator[None]:
    """Say of which model an error is that comes out of transformers, or out of the code of a model.

    Args:
        path: Folder or Hub id of the model.
        doing: What fails then, such as "cannot be read".

    Raises:
        ValueError: In place of any other exception but `OSError`, which names its file.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except ValueError as error:
        raise ValueError(f"The config of {path} {doing}: {error}") from error
    except Exception as error:  # configs and code from the Hub may raise anything
        raise ValueError(f"The config of {path} {doing} ({type(error).__name__}: {error}). {_REMEDY}") from error


def _configs(values: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The values themselves and those of the configs inside, each with the place of its fields."""
    yield where, values
    for name, inner in values.items():
        if (
            isinstance(inner, dict)
            and name.endswith("_config")
            and name not in ("per_layer_config", "quantization_config")
        ):
            yield from _configs(inner, f"{where}{name}.")


def _check_key(where: str, name: str) -> None:
    is_method = callable(getattr(PretrainedConfig, name, None))
    if name in ("self", "cls") or name.startswith("__") or is_method:
        raise ValueError(f"{where}{name} is no field of a config, but a name that its class needs itself")


def _check_fields(where: str, part: dict[str, Any]) -> None:
    try:
        fit(part, _Fields)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error
    for name in ("dtype", "torch_dtype"):
        value = part.get(name)
        if isinstance(value, str) and not isinstance(getattr(torch, value.removeprefix("torch."), None), torch.dtype):
            raise ValueError(f"{where}{name} is {shown(value)}, which is no number format of torch")


def _check_numbers(where: str, part: dict[str, Any]) -> None:
    most = {"experts": 1, "layers": 1}
    layers = part.get("per_layer_config") or {}
    overrides = [(f"{where}per_layer_config[{layer}].", values) for layer, values in layers.items()]
    for place, values in ((where, part), *overrides):
        for name, value in values.items():
            kind, limit = _kind_of(name)
            for number in value if isinstance(value, list) else [value]:
                if kind and number is not None:
                    most[kind] = max(most[kind], _checked_number(f"{place}{name}", number, limit))
    if most["experts"] * most["layers"] > MAX_EXPERTS_OF_ALL:
        raise ValueError(
            f"{where or 'it'} has {most['layers']} layers of {most['experts']} experts, which are more than "
            f"{MAX_EXPERTS_OF_ALL:,} in all"
        )


def _kind_of(name: str) -> tuple[str, int]:
    if _LAYERS.fullmatch(name):
        return "layers", MAX_LAYERS
    return ("experts", MAX_EXPERTS) if is_expert_count(name) and _NUMBER.search(name) else ("", 0)


def _checked_number(name: str, number: Any, limit: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= limit:
        raise ValueError(f"{name} is {shown(number)}, and a model has a whole number from 0 to {limit:,} there")
    return number
