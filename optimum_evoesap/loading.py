# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Load the model to prune, after everything that can be checked without its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

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
        ValueError: transformers has no causal language model for this model type, or `check` refuses it.
    """
    config = AutoConfig.from_pretrained(path, **source_kwargs(model_kwargs))
    mapping = AutoModelForCausalLM._model_mapping
    if type(config) in mapping:
        check(build_on_meta(mapping[type(config)], config))
    elif not model_kwargs.get("trust_remote_code"):
        raise ValueError(
            f"transformers {transformers_version} has no causal language model for the model type "
            f"{config.model_type!r} of {path}."
        )
    return AutoModelForCausalLM.from_pretrained(path, **model_kwargs)


def load_tokenizer(path: str, **model_kwargs: Any) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer that lies with a model; `None` where there is none (tokenized data need none)."""
    try:
        return AutoTokenizer.from_pretrained(path, **source_kwargs(model_kwargs))
    except (OSError, ValueError) as error:
        logger.warning("No tokenizer could be loaded from %s, so only tokenized data can be used: %s", path, error)
        return None


def source_kwargs(model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that say where files come from."""
    return {name: model_kwargs[name] for name in _SOURCE_KEYS if name in model_kwargs}
