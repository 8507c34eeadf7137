# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Compare what was written with what its class will load, before it takes the place of anything."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from ..models.loaded_weights import check_loaded


if TYPE_CHECKING:
    from transformers import PreTrainedModel


logger = logging.getLogger(__name__)

_FORMATS = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def verify_written(folder: Path, model: PreTrainedModel, carried: Collection[str] = ()) -> None:
    """Load a saved checkpoint on the meta device, without memory for weights, and compare it with its model.

    Args:
        folder: The checkpoint.
        model: The model that was saved there.
        carried: Names of tensors that the class does not load, and that are meant to be there.

    Raises:
        ValueError: Tensors are missing, too many, or of another shape than the class will load; names them.
    """
    options = {"device_map": "meta", "output_loading_info": True, "ignore_mismatched_sizes": True, "dtype": "auto"}
    loaded, info = type(model).from_pretrained(folder, **options)
    try:
        check_loaded(info, str(folder))
    except ValueError as error:
        raise ValueError(f"What was written does not load as the pruned model, so it is not kept: {error}") from error
    unexpected = sorted(set(info.get("unexpected_keys", ())) - set(carried))
    if unexpected:
        raise ValueError(
            f"What was written holds tensors that {type(model).__name__} does not load, so it is not kept: "
            f"{', '.join(unexpected[:4])}."
        )
    _compare(model, loaded)
    _check_formats(folder, model)


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


def _check_formats(folder: Path, model: PreTrainedModel) -> None:
    """Raise where files hold another number format than the model and float32, such as what was to be dequantized."""
    formats = {_FORMATS.get(tensor.dtype) for tensor in model.state_dict().values()} | {"F32"}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  (it is no dict)
                found = file.get_slice(name).get_dtype()
                if found not in formats and (found in _FORMATS.values() or found.startswith(("F8", "F4", "F6"))):
                    raise ValueError(
                        f"What was written holds {name} in the number format {found}, which the pruned model has "
                        "nowhere, so it is not kept."
                    )
