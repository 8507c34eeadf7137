# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The tokenizer or processor that comes with a model."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, TypeAlias

from transformers import AutoProcessor, AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import cached_file


logger = logging.getLogger(__name__)


Processor: TypeAlias = PreTrainedTokenizerBase | ProcessorMixin


# Keyword arguments of `from_pretrained` that say where files come from, for config, code and processor as well: all of
# them go to every call, as a call that misses the revision runs the code of another one.
_CODE_KEYS = ("code_revision", "trust_remote_code")
_FILE_KEYS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "proxies", "subfolder")


# A model with one of these has more than a tokenizer.
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def find_processor(path: str, **model_kwargs: Any) -> Processor | None:
    """Load the processor or tokenizer that comes with a model; `None` where there is none (tokens need none).

    Args:
        path: Folder or Hub id.
        **model_kwargs: Only those that say where files come from are used.
    """
    try:
        return load_processor(path, **model_kwargs)
    except (OSError, ValueError, ImportError) as error:
        logger.warning("No tokenizer could be loaded from %s, so only tokenized data can be used: %s", path, error)
        return None


def load_processor(path: str, **model_kwargs: Any) -> Processor:
    """Load a processor, or the tokenizer where there is no processor, from a folder or the Hub.

    Where the processor cannot be loaded (a package for images is missing, say) a warning says why; the tokenizer is
    loaded alone.

    Args:
        path: Folder or Hub id.
        **model_kwargs: Only those that say where files come from are used.

    Raises:
        OSError: There is neither.
        ValueError: The tokenizer is of an unknown kind, or broken.
        ImportError: A package that it needs is missing.
    """
    source = source_kwargs(model_kwargs)
    if _has_file(path, _PROCESSOR_FILES, source):
        try:
            processor = AutoProcessor.from_pretrained(path, **source)
        except Exception as error:
            consequence = "so that only text and tokens can be used and the pruned model is saved without it"
            logger.warning("The processor of %s cannot be loaded, %s: %s", path, consequence, error)
        else:
            if getattr(processor, "tokenizer", None) is not None:
                _check(processor.tokenizer, path)
                return processor
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **source)
    except (OSError, ImportError):
        raise
    except Exception as error:
        # What reads tokenizer.json raises bare exceptions, and whatever a wrong type in it leads to.
        raise _broken(path, error) from error
    # For a model type that it knows, transformers makes an empty tokenizer of no files.
    if not _has_file(path, {*tokenizer.vocab_files_names.values(), *_TOKENIZER_FILES}, source):
        raise OSError(f"there are no files of a {type(tokenizer).__name__}")
    _check(tokenizer, path)
    return tokenizer


def source_kwargs(model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that say where files come from."""
    return {name: model_kwargs[name] for name in (*_FILE_KEYS, *_CODE_KEYS) if name in model_kwargs}


def _check(tokenizer: PreTrainedTokenizerBase, path: str) -> None:
    """Raise where a tokenizer cannot even tokenize one word."""
    try:
        tokens = tokenizer("word")["input_ids"]
    except Exception as error:
        raise _broken(path, error) from error
    if not all(isinstance(token, int) for token in tokens) or not len(tokenizer):
        raise _broken(path, TypeError(f"it makes {tokens!r} of a word, with {len(tokenizer)} tokens in all"))


def _broken(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"the tokenizer of {path} cannot be used ({type(error).__name__}: {str(error)[:300]}): download it again "
        "where it is broken, or give another one as `tokenizer`"
    )


def _has_file(path: str, names: Iterable[str], source: dict[str, Any]) -> bool:
    source = {name: value for name, value in source.items() if name in _FILE_KEYS}
    quiet = dict.fromkeys(("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors"), False)
    return any(cached_file(path, name, **source, **quiet) is not None for name in names)
