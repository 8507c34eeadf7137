# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""No window is longer than what the model reads."""

from __future__ import annotations

import logging

from transformers import PretrainedConfig

from ..configuration import EvoESAPConfig
from ..models.context import context_length
from ..options import EvoESAPOptions


logger = logging.getLogger(__name__)


def with_fitting_windows(config: EvoESAPConfig, model_config: PretrainedConfig) -> EvoESAPConfig:
    """The same choices, with windows of at most as many tokens as the model was made for.

    What a model does behind its last position says nothing of its experts. A warning says where windows are shorter
    than was asked for; the default gives way without one.

    Args:
        config: The choices.
        model_config: Config of the model.
    """
    most = context_length(model_config)
    wanted = config.sequence_length
    if most is None or wanted <= most:
        return config
    level = logging.INFO if wanted == EvoESAPOptions.sequence_length else logging.WARNING
    logger.log(
        level,
        "sequence_length=%d is more than the %d tokens that this model reads (max_position_embeddings): windows hold "
        "%d tokens.",
        wanted,
        most,
        most,
    )
    return config.replace(sequence_length=most)
