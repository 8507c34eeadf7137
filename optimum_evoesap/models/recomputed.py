# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Activation checkpointing: what a module computed inside is computed again in the backward pass, not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(modules: Iterable[nn.Module]) -> Iterator[None]:
    """A context in which modules keep only their inputs for the backward pass.

    transformers' own way wants the model in training mode, in which routers add noise and dropout is on.

    Args:
        modules: Most often decoder layers.
    """
    with ExitStack() as undo:
        for module in modules:
            # Where the model is spread over devices, a hook of accelerate is there already.
            own = vars(module).get("forward")
            undo.callback(_restore, module, own)
            vars(module)["forward"] = partial(_recomputed_forward, module.forward)
        yield


def _recomputed_forward(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def _restore(module: nn.Module, own: Callable[..., Any] | None) -> None:
    if own is None:
        vars(module).pop("forward", None)
    else:
        vars(module)["forward"] = own
