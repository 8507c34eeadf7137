# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Load the model to prune, after everything that can be checked without its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.utils import cached_file

from .adapters.structure import build_on_meta


logger = logging.getLogger(__name__)

Processor: TypeAlias = PreTrainedTokenizerBase | ProcessorMixin

# In order of precedence, where a checkpoint does not say its class.
_AUTO_CLASSES = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)
# Keyword arguments of `from_pretrained` that say where files come from, for config and processor as well.
_SOURCE_KEYS = ("revision", "token", "cache_dir", "local_files_only", "subfolder", "trust_remote_code")
# A model with one of these has more than a tokenizer.
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


class ModelChoice(NamedTuple):
    """How a checkpoint loads: what has its `from_pretrained`, and the class that comes out (`None`: remote code)."""

    loader: Any
    model_class: type[PreTrainedModel] | None


def load_model(path: str, check: Callable[[PreTrainedModel], Any], **model_kwargs: Any) -> PreTrainedModel:
    """Load a language model, or a multimodal one with all its parts, from a folder or the Hub.

    Args:
        path: Folder or Hub id.
        check: Called with the model on the meta device, before any weight is read; raises if it cannot be pruned.
        **model_kwargs: Go to `from_pretrained` of the class that [`choose_model`] finds.

    Raises:
        ValueError: As [`load_bare_model`], or `check` refuses the model.
    """
    config = _load_config(path, model_kwargs)
    choice = choose_model(config, path, bool(model_kwargs.get("trust_remote_code")))
    check(_build_bare(choice, config))
    _check_quantization(config, model_kwargs.get("quantization_config"), path)
    return choice.loader.from_pretrained(path, **model_kwargs)


def load_bare_model(path: str, **model_kwargs: Any) -> PreTrainedModel:
    """The model on the meta device: its modules and shapes, from its config alone.

    Args:
        path: Folder or Hub id.
        **model_kwargs: Only those that say where files come from are used.

    Raises:
        FileNotFoundError: `path` looks like a folder, and there is none.
        ValueError: transformers has no language model for this model type.
    """
    config = _load_config(path, model_kwargs)
    return _build_bare(choose_model(config, path, bool(model_kwargs.get("trust_remote_code"))), config)


def choose_model(config: PretrainedConfig, path: str = "", trust_remote_code: bool = False) -> ModelChoice:
    """Choose the class that a checkpoint was made with.

    Its config names the class, so that a multimodal checkpoint keeps its towers also where transformers would rather
    load the text model alone. Where it names none that transformers knows for this model type, the first Auto class
    that knows the type decides.

    Args:
        config: The config of the checkpoint.
        path: Folder or Hub id, for messages.
        trust_remote_code: Whether code of the checkpoint itself may be used; it then comes first.

    Raises:
        ValueError: transformers has no language model for this model type.
    """
    remote = getattr(config, "auto_map", None) or {}
    if trust_remote_code:
        for auto_class in _AUTO_CLASSES:
            if auto_class.__name__ in remote:
                return ModelChoice(auto_class, None)
    names = config.architectures or []
    known = [(auto, mapped) for auto in _AUTO_CLASSES for mapped in _mapped_classes(auto, config)]
    for auto_class, model_class in known:
        if model_class.__name__ in names:
            # Where an Auto class has several for one type it goes by the same names.
            return ModelChoice(auto_class, model_class)
    for named in (getattr(transformers, name, None) for name in names):
        if _generates_from(named, config):
            return ModelChoice(named, named)
    if known:
        return ModelChoice(*known[0])
    of_type = f"for the model type {config.model_type!r}{f' of {path}' if path else ''}"
    if config.is_encoder_decoder:
        raise ValueError(f"There is no causal language model {of_type}: it is an encoder with a decoder.")
    hint = " It brings code of its own: pass trust_remote_code=True if you trust it." if remote else ""
    raise ValueError(f"transformers {transformers.__version__} has no causal language model {of_type}.{hint}")


def _check_quantization(config: PretrainedConfig, given: Any, path: str) -> None:
    """Raise where the weights would be quantized, before they are read."""
    if getattr(given, "dequantize", False):
        return
    if given is not None:
        raise ValueError(
            "quantization_config would quantize the weights, whose scales cannot be sliced with their experts: leave "
            "it out, prune, then quantize the result."
        )
    quantized = getattr(config, "quantization_config", None)
    if quantized:
        method = quantized["quant_method"] if isinstance(quantized, dict) else quantized.quant_method
        raise ValueError(
            f"{path} is quantized ({method}), and scales cannot be sliced with their experts. Load it with a "
            "quantization_config that has dequantize=True, where its method has that (FP8, MXFP4), or start from the "
            "model that it was made from; prune, then quantize."
        )


def loader_name(model: PreTrainedModel) -> str:
    """The class in transformers that loads such a model: an Auto class where one does, otherwise its own."""
    for auto_class in _AUTO_CLASSES:
        if type(model) in _mapped_classes(auto_class, model.config):
            return auto_class.__name__
    is_remote = not hasattr(transformers, type(model).__name__)
    return AutoModelForCausalLM.__name__ if is_remote else type(model).__name__


def find_processor(path: str, **model_kwargs: Any) -> Processor | None:
    """Load the processor or tokenizer that lies with a model; `None` where there is none (tokens need none)."""
    try:
        return load_processor(path, **model_kwargs)
    except (OSError, ValueError) as error:
        logger.warning("No tokenizer could be loaded from %s, so only tokenized data can be used: %s", path, error)
        return None


def load_processor(path: str, **model_kwargs: Any) -> Processor:
    """Load a processor, or the tokenizer where there is no processor, from a folder or the Hub.

    Where the processor cannot be loaded (a package for images is missing, say) a warning says why; the tokenizer is
    loaded alone.

    Raises:
        OSError: There is neither.
        ValueError: The tokenizer is of an unknown kind.
    """
    source = source_kwargs(model_kwargs)
    if _has_file(path, _PROCESSOR_FILES, source):
        try:
            processor = AutoProcessor.from_pretrained(path, **source)
        except (ImportError, OSError, ValueError) as error:
            consequence = "so that only text and tokens can be used and the pruned model is saved without it"
            logger.warning("The processor of %s cannot be loaded, %s: %s", path, consequence, error)
        else:
            if getattr(processor, "tokenizer", None) is not None:
                return processor
    tokenizer = AutoTokenizer.from_pretrained(path, **source)
    # For a model type that it knows, transformers makes an empty tokenizer of no files.
    if not _has_file(path, {*tokenizer.vocab_files_names.values(), *_TOKENIZER_FILES}, source):
        raise OSError(f"there are no files of a {type(tokenizer).__name__}")
    return tokenizer


def source_kwargs(model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that say where files come from."""
    return {name: model_kwargs[name] for name in _SOURCE_KEYS if name in model_kwargs}


def _load_config(path: str, model_kwargs: dict[str, Any]) -> PretrainedConfig:
    if (path.startswith((".", "/", "~")) or path.count("/") > 1) and not Path(path).is_dir():
        raise FileNotFoundError(f"There is no folder {path}; give the folder of a model, or the id of one on the Hub.")
    return AutoConfig.from_pretrained(path, **source_kwargs(model_kwargs))


def _build_bare(choice: ModelChoice, config: PretrainedConfig) -> PreTrainedModel:
    if choice.model_class is None:
        with torch.device("meta"):
            return choice.loader.from_config(config, trust_remote_code=True)
    if getattr(choice.model_class, "config_class", None) is config.sub_configs.get("text_config"):
        # The text model of a multimodal type: Auto classes give it only its own part of the config.
        config = config.get_text_config(decoder=True)
    return build_on_meta(choice.model_class, config)


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


def _has_file(path: str, names: Iterable[str], source: dict[str, Any]) -> bool:
    source = {name: value for name, value in source.items() if name != "trust_remote_code"}
    quiet = dict.fromkeys(("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors"), False)
    return any(cached_file(path, name, **source, **quiet) is not None for name in names)
