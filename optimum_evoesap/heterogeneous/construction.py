# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The one step that transformers lacks to build a model whose layers have different expert counts.

transformers reads `per_layer_config` from config.json, but most models hand every decoder layer the global config
(transformers PR 45332 is to change that). While a model whose config overrides expert counts is being built, each of
its layers gets the config of that layer instead. All other models are untouched, and so are the model types that
transformers itself builds this way.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import count_readers
from .attributes import has_expert_overrides
from .validation import allow_global_reads


_LAYER_INDEX_NAMES = ("layer_idx", "layer_index", "block_idx", "layer_id")
_MARK = "_evoesap_builds_layers"


class _UnderConstruction(threading.local):
    """Configs of the models that this thread is building, each with the layers that have taken their own config.

    The configs themselves are not changed: a mark on one would remain after a construction that fails. An entry is
    valid only as long as the half-built model exists.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref, weakref.ref, set[int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, config: Any, model: Any) -> None:
        self._entries[id(config)] = (weakref.ref(config), weakref.ref(model), set())

    def built_layers(self, config: Any) -> set[int] | None:
        """The layers built so far; `None` when no model is being built from `config`."""
        if id(config) not in self._entries:
            return None
        reference, model, layers = self._entries[id(config)]
        return layers if reference() is config and model() is not None else None

    def allows(self, config: Any) -> bool:
        return self.built_layers(config) is not None

    def remove(self, config: Any) -> None:
        self._entries.pop(id(config), None)


_under_construction = _UnderConstruction()


def leave_layers_to_transformers(model: Any, config: Any) -> bool:
    """Let transformers hand the layers of a model their own config, where it does so by itself.

    PR 45332 does so for the model types that it has a spec for. Depending on its revision it leaves others as they
    are or refuses to build them; that is switched off here for this model, as this package builds its layers.

    Args:
        model: The model, before its construction. It gets its config early, which transformers looks at.
        config: Its config, or that of a model inside it.

    Returns:
        Whether transformers does it; if not, this package has to.
    """
    from transformers.integrations import heterogeneity

    find_spec = getattr(heterogeneity, "get_heterogeneous_modeling_spec", None)
    if find_spec is None:
        return False
    model.__dict__["config"] = config
    try:
        return find_spec(model) is not None
    except ValueError:
        model.__dict__["_disable_heterogeneous_modeling_patching"] = True
        return False


def install() -> None:
    """Wrap the construction of `PreTrainedModel`; calling it again changes nothing."""
    from transformers.modeling_utils import PreTrainedModel

    if hasattr(PreTrainedModel, _MARK):
        return
    build, finish = PreTrainedModel.__init__, PreTrainedModel.post_init

    @functools.wraps(build)
    def __init__(self, config, *args, **kwargs):
        opened = _open(self, config) if hasattr(config, "to_dict") else []
        build(self, config, *args, **kwargs)
        if opened:
            self.__dict__["_evoesap_opened"] = opened

    @functools.wraps(finish)
    def post_init(self):
        finish(self)
        for config in self.__dict__.pop("_evoesap_opened", ()):
            _close(config, type(self).__name__)

    PreTrainedModel.__init__ = __init__
    PreTrainedModel.post_init = post_init
    setattr(PreTrainedModel, _MARK, True)
    # Model classes keep the config-wide count for their auxiliary loss.
    allow_global_reads(_under_construction)
    count_readers.install(PreTrainedModel)


def _open(model: Any, config: Any) -> list[Any]:
    """Prepare the layers of a model that is about to be built; return the configs that this model has to close."""
    opened = []
    for part in count_readers.with_sub_configs(config):
        if has_expert_overrides(part) and not leave_layers_to_transformers(model, part):
            wrap_layers(sys.modules[type(model).__module__])
            if part is not config:
                count_readers.let_read_counts(model)
            if _under_construction.built_layers(part) is None:
                _under_construction.add(part, model)
                opened.append(part)
    return opened


def _close(config: Any, model_name: str) -> None:
    built = _under_construction.built_layers(config) or set()
    _under_construction.remove(config)
    missing = set(config._heterogeneity_spec.per_layer_overrides) - built
    if missing:
        raise RuntimeError(
            f"{model_name} did not take its own config in the layers {sorted(missing)}, so it was built with the "
            "wrong expert counts. Please report this architecture to optimum-evoesap."
        )


def wrap_layers(module: ModuleType) -> None:
    """Make each class that a modeling file builds from a config and a layer index take the config of that layer."""
    from torch import nn

    for name, item in list(vars(module).items()):
        if isinstance(item, type) and issubclass(item, nn.Module):
            parameters = inspect.signature(item.__init__).parameters
            index_name = next((each for each in _LAYER_INDEX_NAMES if each in parameters), None)
            if index_name is not None and "config" in parameters and not hasattr(item.__init__, _MARK):
                setattr(item, "__init__", _with_layer_config(item.__init__, index_name))  # noqa: B010
        elif name == "load_balancing_loss_func" and not hasattr(item, _MARK):
            setattr(module, name, _padding_router_logits(item))


def _with_layer_config(build: Callable[..., None], index_name: str) -> Callable[..., None]:
    from .attributes import per_layer_overrides
    from .layer_config import layer_config

    signature = inspect.signature(build)

    @functools.wraps(build)
    def __init__(self, *args, **kwargs):
        bound = signature.bind_partial(self, *args, **kwargs)
        config, index = bound.arguments.get("config"), bound.arguments.get(index_name)
        if isinstance(index, int) and has_expert_overrides(config):
            built = _under_construction.built_layers(config)
            if built is not None:
                built.add(index)
            bound.arguments["config"] = layer_config(config, per_layer_overrides(config).get(index, {}))
        return build(*bound.args, **bound.kwargs)

    setattr(__init__, _MARK, True)
    return __init__


def _padding_router_logits(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Let the auxiliary loss take layers with fewer experts: a router logit of -inf is an expert never chosen."""
    from torch.nn.functional import pad

    @functools.wraps(loss)
    def load_balancing_loss_func(gate_logits, num_experts=None, *args, **kwargs):
        if isinstance(gate_logits, tuple) and num_experts is not None:
            gate_logits = tuple(
                pad(each, (0, num_experts - each.shape[-1]), value=float("-inf"))
                if each.shape[-1] < num_experts
                else each
                for each in gate_logits
            )
        return loss(gate_logits, num_experts, *args, **kwargs)

    setattr(load_balancing_loss_func, _MARK, True)
    return load_balancing_loss_func
