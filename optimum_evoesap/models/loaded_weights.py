# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Load weights, and take no model of which a part would be random: transformers reports that and goes on."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedModel


logger = logging.getLogger(__name__)

_SHOWN = 4


def load_weights(loader: Any, path: str, **model_kwargs: Any) -> tuple[PreTrainedModel, list[str]]:
    """Load a model with all its weights.

    Args:
        loader: The class whose `from_pretrained` loads it.
        path: Folder or Hub id.
        **model_kwargs: Go to `from_pretrained`.

    Returns:
        The model, and the names of the tensors of the checkpoint that it has no place for.

    Raises:
        ValueError: Tensors of the model are missing, have another shape, or cannot be made of those in the files.
        OSError: A file of weights is damaged.
    """
    # Other shapes come with the missing tensors, in one error of ours.
    options = model_kwargs | {"output_loading_info": True, "ignore_mismatched_sizes": True}
    with _HeldReport() as report:
        try:
            model, info = loader.from_pretrained(path, **options)
        except SafetensorError as error:
            raise OSError(f"A file of weights of {path} is damaged or cut off ({error}): fetch it again.") from error
        except RuntimeError as error:
            if not report.text:
                raise
            raise ValueError(f"The weights of {path} do not make its model: {error}\n{report.text}") from error
    check_loaded(info, path)
    if getattr(model_kwargs.get("quantization_config"), "dequantize", False):
        # What undid the quantization is no way back: the weights are saved by what the class itself converts.
        vars(model).pop("_weight_conversions", None)
    unexpected = sorted(info.get("unexpected_keys", ()))
    if unexpected:
        logger.warning(
            "%d tensors of %s have no place in %s and will not be in the pruned checkpoint: %s.",
            len(unexpected),
            path,
            type(model).__name__,
            _some(unexpected),
        )
    return model, unexpected


def check_loaded(info: Mapping[str, Any], path: str) -> None:
    """Raise where a part of a model was not loaded.

    Args:
        info: What `from_pretrained` gives with `output_loading_info`.
        path: Where the model is, for the message.

    Raises:
        ValueError: Tensors are missing or have another shape; names them and the likely cause.
    """
    missing = sorted(info.get("missing_keys", ()))
    mismatched = sorted(info.get("mismatched_keys", ()))
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors of the model are missing ({_some(missing)})")
    if mismatched:
        shapes = [f"{name}: {tuple(found)} in place of {tuple(wanted)}" for name, found, wanted in mismatched]
        problems.append(f"{len(mismatched)} have another shape ({_some(shapes)})")
    problems += [str(error) for error in info.get("error_msgs") or ()]
    if problems:
        cause = _likely_cause(missing, sorted(info.get("unexpected_keys", ())))
        raise ValueError(
            f"{path} cannot be loaded whole: {' and '.join(problems)}. They would be random. Likely cause: {cause}."
        )


def _likely_cause(missing: Collection[str], unexpected: Collection[str]) -> str:
    if not missing:
        return (
            "the config is that of another model or size, some experts are missing, or they are packed in another "
            "way; take the files and the config of one release"
        )
    renamed = _other_prefix(missing, unexpected)
    if renamed:
        return (
            f"another prefix, as the files have {renamed[1]} for {renamed[0]}; rename the tensors, or name the class "
            "that they were saved from under architectures in config.json"
        )
    if any("expert" in name for name in missing) and any("expert" in name for name in unexpected):
        return (
            f"experts that are packed or named in another way, as the files have {_some(unexpected)}; convert them to "
            "the names that the class of this model saves"
        )
    if unexpected:
        return (
            f"tensors that are named in another way, as the files have {_some(unexpected)}; convert them, or take the "
            "config that belongs to them"
        )
    layers = sorted({int(number) for name in missing for number in re.findall(r"\.(\d+)\.", name)[:1]})
    where = f" (all lie in the layers {', '.join(map(str, layers))})" if layers and _all_in_layers(missing) else ""
    return f"a missing shard{where}, or a download that was broken off; fetch the files again"


def _other_prefix(missing: Iterable[str], unexpected: Iterable[str]) -> tuple[str, str] | None:
    """A tensor of the model and one of the files that are the same from the layer's number on, and not before."""
    found = {_block(name): name for name in reversed(list(unexpected))}
    for name in missing:
        block = _block(name)
        other = found.get(block)
        if other is not None and name.rpartition(block)[0] != other.rpartition(block)[0]:
            return name, other
    return None


def _block(name: str) -> str:
    """From the layer's number to the experts, which are packed when they are loaded; else the last two parts."""
    found = re.search(r"(?<=\.)\d+\..*", name)
    return found[0].partition("experts.")[0] if found else ".".join(name.split(".")[-2:])


def _all_in_layers(names: Iterable[str]) -> bool:
    return all(re.search(r"\.\d+\.", name) for name in names)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


class _HeldReport(logging.Filter):
    """Keeps back the report of transformers, which ours takes the place of."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "LOAD REPORT" not in text:
            return True
        self.text = text
        return False

    def __enter__(self) -> _HeldReport:
        logging.getLogger("transformers.modeling_utils").addFilter(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("transformers.modeling_utils").removeFilter(self)
