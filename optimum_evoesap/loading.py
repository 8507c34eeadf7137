# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Load the model to prune, after everything that can be checked without its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers import __version__ as transformers_version

from .adapters.structure import build_on_meta


logger = logging.getLogger(__name__)

# Keyword arguments of `from_pretrained` that say where files come from, for config and tokenizer as well.
_SOURCE_KEYS = ("revision", "token", "cache_dir", "local_files_only", "subfolder", "trust_remote_code")


def load_model(path: str, check: Callable[[PreTrainedModel], Any], **model_kwargs: Any) -> PreTrainedModel:
    """Load a causal language model from a folder or the Hub.

    Args:
        path: Folder or Hub id.
        check: Called with the model on the meta device, before any weight is read; raises if it cannot be pruned.
        **model_kwargs: Go to `AutoModelForCausalLM.from_pretrained`.

    Raises:
        ValueError: As [`load_bare_model`], or `check` refuses the model.
    """
    check(load_bare_model(path, **model_kwargs))
    return AutoModelForCausalLM.from_pretrained(path, **model_kwargs)


def load_bare_model(path: str, **model_kwargs: Any) -> PreTrainedModel:
    """The model on the meta device: its modules and shapes, from its config alone.

    Args:
        path: Folder or Hub id.
        **model_kwargs: Only those that say where files come from are used.

    Raises:
        FileNotFoundError: `path` looks like a folder, and there is none.
        ValueError: transformers has no causal language model for this model type.
    """
    if (path.startswith((".", "/", "~")) or path.count("/") > 1) and not Path(path).is_dir():
        raise FileNotFoundError(f"There is no folder {path}; give the folder of a model, or the id of one on the Hub.")
    config = AutoConfig.from_pretrained(path, **source_kwargs(model_kwargs))
    mapping = AutoModelForCausalLM._model_mapping
    if type(config) in mapping:
        return build_on_meta(mapping[type(config)], config)
    if not model_kwargs.get("trust_remote_code"):
        raise ValueError(
            f"transformers {transformers_version} has no causal language model for the model type "
            f"{config.model_type!r} of {path}."
        )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=True)


def find_tokenizer(path: str, **model_kwargs: Any) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer that lies with a model; `None` where there is none (tokenized data need none)."""
    try:
        return load_tokenizer(path, **model_kwargs)
    except (OSError, ValueError) as error:
        logger.warning("No tokenizer could be loaded from %s, so only tokenized data can be used: %s", path, error)
        return None


def load_tokenizer(path: str, **model_kwargs: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or the Hub."""
    return AutoTokenizer.from_pretrained(path, **source_kwargs(model_kwargs))


def source_kwargs(model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that say where files come from."""
    return {name: model_kwargs[name] for name in _SOURCE_KEYS if name in model_kwargs}
