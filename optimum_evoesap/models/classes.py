# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which class of transformers a checkpoint was made with, and which one loads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.dynamic_module_utils import get_class_from_dynamic_module


# In order of precedence, where a checkpoint does not say its class.
_AUTO_CLASSES = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)


class ModelChoice(NamedTuple):
    """How a checkpoint loads.

    Attributes:
        loader: The class whose `from_pretrained` loads it.
        model_class: The class of the loaded model.
    """

    loader: Any
    model_class: type[PreTrainedModel]


def choose_model(
    config: PretrainedConfig, path: str = "", trust_remote_code: bool | None = False, **source: Any
) -> ModelChoice:
    """Choose the class that a checkpoint was made with.

    Its config names the class, so that a multimodal checkpoint keeps its towers also where transformers would rather
    load the text model alone. Where it names none that transformers knows for this model type, the first Auto class
    that knows the type decides.

    Args:
        config: The config of the checkpoint.
        path: Folder or Hub id, where code comes from and for messages.
        trust_remote_code: Whether code of the checkpoint itself may be used; it then comes first.
        **source: The other arguments of `from_pretrained` that say where files come from, such as `revision`: the code
            comes from there too.

    Raises:
        ValueError: transformers has no language model for this model type.
    """
    remote = getattr(config, "auto_map", None) or {}
    if trust_remote_code:
        for auto_class in _AUTO_CLASSES:
            if auto_class.__name__ in remote and not _is_registered(auto_class, config):
                own_class = get_class_from_dynamic_module(remote[auto_class.__name__], path, **source)
                return ModelChoice(auto_class, own_class)
    names = config.architectures or []
    known = [(auto, mapped) for auto in _AUTO_CLASSES for mapped in _mapped_classes(auto, config)]
    for auto_class, model_class in known:
        if model_class.__name__ in names:
            # Where an Auto class has several for one type it goes by the same names.
            return ModelChoice(auto_class, model_class)
    for named in (getattr(transformers, name, None) for name in names):
        if named is not None and _generates_from(named, config):
            return ModelChoice(named, named)
    if known:
        return ModelChoice(*known[0])
    of_type = f"for the model type {config.model_type!r}{f' of {path}' if path else ''}"
    if config.is_encoder_decoder:
        raise ValueError(f"There is no causal language model {of_type}: it is an encoder with a decoder.")
    hint = " It brings code of its own: pass trust_remote_code=True if you trust it." if remote else ""
    raise ValueError(f"transformers {transformers.__version__} has no causal language model {of_type}.{hint}")


def loader_name(model: PreTrainedModel) -> str:
    """The class in transformers that loads such a model: an Auto class where one does, otherwise its own."""
    for auto_class in _AUTO_CLASSES:
        if type(model) in _mapped_classes(auto_class, model.config):
            return auto_class.__name__
    is_remote = not hasattr(transformers, type(model).__name__)
    return AutoModelForCausalLM.__name__ if is_remote else type(model).__name__


def _is_registered(auto_class: Any, config: PretrainedConfig) -> bool:
    """Whether the user has registered a class for such a config, which transformers takes before remote code."""
    first = next(_mapped_classes(auto_class, config), None)
    return first is not None and not first.__module__.startswith("transformers.")


def _mapped_classes(auto_class: Any, config: PretrainedConfig) -> Iterator[type[PreTrainedModel]]:
    """The classes that an Auto class knows for a config."""
    mapping = auto_class._model_mapping
    if type(config) in mapping:
        mapped = mapping[type(config)]
        yield from mapped if isinstance(mapped, (list, tuple)) else (mapped,)


def _generates_from(named: Any, config: PretrainedConfig) -> bool:
    """Whether this is a decoder with a language head that is made from such a config."""
    if not (isinstance(named, type) and issubclass(named, PreTrainedModel) and issubclass(named, GenerationMixin)):
        return False
    made_from = getattr(named, "config_class", None)
    return made_from is not None and isinstance(config, made_from) and not config.is_encoder_decoder
