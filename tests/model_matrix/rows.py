# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a row of the model matrix is, and the table of all rows."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import transformers
from packaging.version import Version
from transformers import PretrainedConfig, PreTrainedModel


VOCABULARY = 96

# Sizes that most text configs have under these names.
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    # Large enough for experts to matter: at the default of 0.02 every pruned model looks like its teacher.
    "initializer_range": 0.4,
}


@dataclass(frozen=True)
class Row:
    """One architecture.

    Attributes:
        model_type: The `model_type` of its config.
        model_class: Name of its class in transformers, or `module:class`.
        make_config: Makes a tiny config.
        hub_models: Models on the Hub that have this architecture.
        since: The first transformers release with which it works, where that is later than the oldest one supported.
        prepare: Finishes a model that was filled with random routers and biases.
    """

    model_type: str
    model_class: str
    make_config: Callable[[], PretrainedConfig]
    hub_models: tuple[str, ...] = ()
    since: str | None = None
    prepare: Callable[[PreTrainedModel], None] | None = None

    @property
    def is_installed(self) -> bool:
        """Whether the installed transformers is new enough."""
        return self.since is None or Version(transformers.__version__) >= Version(self.since)

    def load_class(self) -> type[PreTrainedModel]:
        """Import the model class."""
        return _find(self.model_class)


ROWS: dict[str, Row] = {}


def add_row(
    model_type: str,
    model_class: str,
    config_class: str,
    hub_models: tuple[str, ...] = (),
    since: str | None = None,
    prepare: Callable[[PreTrainedModel], None] | None = None,
    common: bool = True,
    **options: Any,
) -> None:
    """Add an architecture: `options` and, if `common`, the sizes in `COMMON` go to its config class."""
    values = (COMMON if common else {}) | options

    def make_config() -> PretrainedConfig:
        # Some configs change the lists and dicts that they are given.
        return _find(config_class)(**copy.deepcopy(values))

    ROWS[model_type] = Row(model_type, model_class, make_config, hub_models, since, prepare)


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(":")
    return getattr(importlib.import_module(module) if module else transformers, attribute)
