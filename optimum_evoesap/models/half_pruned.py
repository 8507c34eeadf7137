# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A model from which only some experts are removed yet: it refuses to run and to be saved.

To bring the removed experts back, all of them would have to be kept in memory until the end. So a model on which the
removal ends half-way is lost, and says so, instead of looking like a whole one under its old config.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from torch import nn


Result = TypeVar("Result")

# What a half-pruned model could be used by.
_USES = ("forward", "generate", "save_pretrained", "push_to_hub", "state_dict")
_MESSAGE = "Removing experts from this {} was cut short, so it is neither whole nor pruned: load the model again."


class _Refusal:
    """Stands in the place of a method of a half-pruned model."""

    def __init__(self, class_name: str):
        self.message = _MESSAGE.format(class_name)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(self.message)


def whole_or_unusable(model: nn.Module, work: Callable[[], Result]) -> Result:
    """Do something with a model that must be done to its end; where it is not, the model refuses all use.

    Args:
        model: The model.
        work: Changes it step by step.
    """
    own = dict(vars(model))
    refusal = _Refusal(type(model).__name__)
    # Before the first step, so that no interrupt leaves a model that is changed and can be used.
    vars(model).update(dict.fromkeys(_USES, refusal))
    result = work()
    for name in _USES:
        if name in own:
            vars(model)[name] = own[name]
        else:
            del vars(model)[name]
    return result


def check_not_half_pruned(model: nn.Module) -> None:
    """Check that no removal of experts was cut short.

    Raises:
        ValueError: One was.
    """
    refusal = next((vars(model)[name] for name in _USES if isinstance(vars(model).get(name), _Refusal)), None)
    if refusal is not None:
        raise ValueError(refusal.message)
