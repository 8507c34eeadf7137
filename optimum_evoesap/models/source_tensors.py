# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Tensors that the files of a checkpoint hold in more bits than the rest, such as float32 routers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from .processors import source_kwargs
from .tensor_files import read_tensor_file


_WIDE = "F32"
_QUIET = dict.fromkeys(("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors"), False)


def find_wide_tensors(path: str, model_kwargs: Mapping[str, Any]) -> dict[str, Path]:
    """Find what is float32 in a checkpoint that mostly is not; loading casts it, so that it has to be read again.

    Only the headers of the files are read.

    Args:
        path: Folder or Hub id.
        model_kwargs: Those that say where files come from are used.

    Returns:
        By its name, the file that holds each such tensor. Empty where all is float32, and where the weights are not in
        safetensors files of the usual names.
    """
    files: dict[str, Path] = {}
    dtypes: dict[str, str] = {}
    elements: Counter[str] = Counter()
    for file in _files(path, dict(model_kwargs)):
        for tensor in read_tensor_file(file).tensors:
            files[tensor.name], dtypes[tensor.name] = file, tensor.dtype
            elements[tensor.dtype] += math.prod(tensor.shape)
    if not elements or elements.most_common(1)[0][0] == _WIDE:
        return {}
    return {name: files[name] for name, dtype in dtypes.items() if dtype == _WIDE}


def _files(path: str, model_kwargs: dict[str, Any]) -> Iterator[Path]:
    """The safetensors files of a checkpoint, which are on this machine since it is loaded."""
    source = source_kwargs(model_kwargs)
    source = {name: value for name, value in source.items() if name not in ("trust_remote_code", "code_revision")}
    # What is in the cache is never fetched twice, also where loading was told to.
    source.pop("force_download", None)
    if model_kwargs.get("variant") or model_kwargs.get("gguf_file"):
        return
    single = cached_file(path, SAFE_WEIGHTS_NAME, **source, **_QUIET)
    if single is not None:
        yield Path(single)
        return
    index = cached_file(path, SAFE_WEIGHTS_INDEX_NAME, **source, **_QUIET)
    if index is None:
        return
    names = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()
    for name in sorted(set(names)):
        shard = cached_file(path, name, **source, **_QUIET)
        if shard is not None:
            yield Path(shard)
