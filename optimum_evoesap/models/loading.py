# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Load the model to prune, after everything that can be checked without its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from ..adapters.structure import build_on_meta
from .classes import ModelChoice, choose_model
from .config_file import check_config_file, errors_of_config
from .devices import check_devices
from .hub_file import check_token, is_path
from .loaded_weights import load_weights
from .origin import ModelOrigin, absolute_if_local
from .processors import source_kwargs
from .quantization import check_quantization, dequantizing, drop_empty_quantization
from .source_tensors import find_wide_tensors
from .sparse_model import SparseModel


logger = logging.getLogger(__name__)

# What says how weights are loaded; a config has values of these names of its own.
_NO_OVERRIDES = ("dtype", "torch_dtype", "quantization_config")


def load_model(
    path: str, check: Callable[[SparseModel], Any], dequantize: bool = False, **model_kwargs: Any
) -> SparseModel:
    """Load a language model, or a multimodal one with all its parts, from a folder or the Hub.

    Args:
        path: Folder or Hub id.
        check: Called with the model on the meta device, before any weight is read; raises if it cannot be pruned.
        dequantize: Undo the quantization of the checkpoint while it loads, where transformers can.
        **model_kwargs: Go to `from_pretrained` of the class that [`choose_model`] finds.

    Raises:
        FileNotFoundError: `path` looks like a folder, and there is none.
        ValueError: A device is not there, transformers has no language model for this model type, its weights would be
            quantized, `check` refuses the model, or the files do not hold all of its weights.
    """
    check_devices(model_kwargs.get("device_map"))
    path, source = absolute_if_local(path), source_kwargs(model_kwargs)
    config = _load_config(path, source, _overrides(model_kwargs))
    if drop_empty_quantization(config):
        # transformers would read the config again; what changed values in it has done so.
        given = {
            name: value for name, value in model_kwargs.items() if name in _NO_OVERRIDES or not hasattr(config, name)
        }
        model_kwargs = given | {"config": config}
    if dequantize:
        model_kwargs = model_kwargs | {"quantization_config": dequantizing(config, path)}
    choice = choose_model(config, path, **source)
    bare = SparseModel(_build_bare(choice, config))
    # So that its size is about that of the checkpoint; which weights stay in float32 is known only once they are read.
    bare.model.to(_dtype_of(config, model_kwargs.get("dtype", model_kwargs.get("torch_dtype"))))
    check(bare)
    check_quantization(config, model_kwargs.get("quantization_config"), path)
    model, _ = load_weights(choice.loader, path, **model_kwargs)
    found = bare.bind(model)
    found.origin = ModelOrigin.loaded(path, source)
    found.source_tensors = find_wide_tensors(path, model_kwargs)
    return found


def load_bare_model(path: str, **model_kwargs: Any) -> PreTrainedModel:
    """The model on the meta device: its modules and shapes, from its config alone.

    Args:
        path: Folder or Hub id.
        **model_kwargs: Those that say where files come from: `revision`, `code_revision`, `token`, `cache_dir`,
            `local_files_only`, `force_download`, `proxies`, `subfolder`, `trust_remote_code`.

    Raises:
        TypeError: Another keyword argument, which would have no effect.
        FileNotFoundError: `path` looks like a folder, and there is none.
        ValueError: transformers has no language model for this model type.
    """
    others = model_kwargs.keys() - source_kwargs(model_kwargs).keys()
    if others:
        raise TypeError(f"{', '.join(sorted(others))} would have no effect: no weights are read.")
    path = absolute_if_local(path)
    config = _load_config(path, model_kwargs, {})
    return _build_bare(choose_model(config, path, **model_kwargs), config)


def _dtype_of(config: PretrainedConfig, given: Any) -> torch.dtype:
    """The dtype that weights will be read in; where only they themselves tell it, one that does not overrate them."""
    if given is None or given == "auto" or isinstance(given, dict):
        given = config.dtype or config.get_text_config(decoder=True).dtype or torch.bfloat16
    return getattr(torch, given) if isinstance(given, str) else given


def _overrides(model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments that may take the place of values in the config, as `from_pretrained` of a model has it."""
    return {name: value for name, value in model_kwargs.items() if name not in _NO_OVERRIDES}


def _load_config(path: str, source: dict[str, Any], overrides: dict[str, Any]) -> PretrainedConfig:
    check_token(source.get("token"))
    if is_path(path) and not Path(path).is_dir():
        raise FileNotFoundError(f"There is no folder {path}; give the folder of a model, or the id of one on the Hub.")
    if isinstance(overrides.get("config"), PretrainedConfig):
        return overrides["config"]
    check_config_file(path, **source)
    # Where nobody says whether to trust code, transformers would ask on the terminal.
    given = {"trust_remote_code": False, **overrides, **source}
    with errors_of_config(path, "cannot be read"):
        config, _ = AutoConfig.from_pretrained(path, **given, return_unused_kwargs=True)
    return config


def _build_bare(choice: ModelChoice, config: PretrainedConfig) -> PreTrainedModel:
    if getattr(choice.model_class, "config_class", None) is config.sub_configs.get("text_config"):
        # The text model of a multimodal type: Auto classes give it only its own part of the config.
        config = config.get_text_config(decoder=True)
    with errors_of_config(config.name_or_path, "makes no model"):
        return build_on_meta(choice.model_class, config)
