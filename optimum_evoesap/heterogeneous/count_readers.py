# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Models with a text model inside that read the config-wide expert count of its config each time they run.

Their auxiliary loss does. transformers refuses the read where layers have counts of their own. It is allowed only for
the configs of models that still exist; all other code still gets the error.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from .validation import allow_global_reads


# In the model's own attributes, so that every kind of copy has it too.
_MARK = "_evoesap_reads_counts"


class _CountReaders:
    """The models; which configs are theirs is looked up at each read, since configs are replaced and copied."""

    def __init__(self) -> None:
        self._models: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def __bool__(self) -> bool:
        return bool(self._models)

    def add(self, model: Any) -> None:
        self._models[id(model)] = model

    def allows(self, config: Any) -> bool:
        models = (reference() for reference in self._models.valuerefs())
        return any(
            part is config
            for model in models
            if model is not None
            for part in with_sub_configs(vars(model).get("config"))[1:]
        )


_readers = _CountReaders()


def let_read_counts(model: Any) -> None:
    """Let a model and its copies read the config-wide expert count of the configs inside their own while they live.

    Args:
        model: A model, also one that is still under construction.
    """
    vars(model)[_MARK] = True
    _readers.add(model)


def with_sub_configs(config: Any) -> list[Any]:
    """A config and all those inside it."""
    parts = [config]
    for name in getattr(config, "sub_configs", None) or ():
        part = getattr(config, name, None)
        if part is not None and part is not config:
            parts += with_sub_configs(part)
    return parts


def install(model_class: type) -> None:
    """Note the copies of models, and let all of them read.

    Args:
        model_class: transformers' `PreTrainedModel`; to be done once.
    """
    restore = getattr(model_class, "__setstate__")  # noqa: B009  (no plain class has it for mypy)

    @functools.wraps(restore)
    def __setstate__(self, state):
        # `copy` and `pickle` call this in place of the constructor.
        restore(self, state)
        if _MARK in vars(self):
            _readers.add(self)

    setattr(model_class, "__setstate__", __setstate__)  # noqa: B010
    allow_global_reads(_readers)
