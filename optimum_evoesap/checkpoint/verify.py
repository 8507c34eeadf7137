# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Compare what was written with what its class will load, before it takes the place of anything."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.loaded_weights import check_loaded


if TYPE_CHECKING:
    from transformers import PreTrainedModel


logger = logging.getLogger(__name__)


def verify_written(folder: Path, model: PreTrainedModel) -> None:
    """Load a saved checkpoint on the meta device, without memory for weights, and compare it with its model.

    Args:
        folder: The checkpoint.
        model: The model that was saved there.

    Raises:
        ValueError: Tensors are missing, too many, or of another shape than the class will load; names them.
    """
    options = {"device_map": "meta", "output_loading_info": True, "ignore_mismatched_sizes": True, "dtype": "auto"}
    loaded, info = type(model).from_pretrained(folder, **options)
    try:
        check_loaded(info, str(folder))
    except ValueError as error:
        raise ValueError(f"What was written does not load as the pruned model, so it is not kept: {error}") from error
    unexpected = sorted(info.get("unexpected_keys", ()))
    if unexpected:
        raise ValueError(
            f"What was written holds tensors that {type(model).__name__} does not load, so it is not kept: "
            f"{', '.join(unexpected[:4])}."
        )
    _compare(model, loaded)


def _compare(model: PreTrainedModel, loaded: PreTrainedModel) -> None:
    written, found = model.state_dict(), loaded.state_dict()
    wrong = [name for name in written if name not in found or found[name].shape != written[name].shape]
    if wrong:
        raise ValueError(
            f"What was written loads with other tensors than the pruned model has: {', '.join(wrong[:4])}."
        )
    recast = [name for name in written if found[name].dtype != written[name].dtype]
    if recast:
        logger.warning("%s of the pruned model will load in another number format.", ", ".join(recast[:4]))
