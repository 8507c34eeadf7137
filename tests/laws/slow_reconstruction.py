# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A slow, obvious recomputation of what a layer's output changes by without experts: copies that are really sliced."""

from __future__ import annotations

import copy
from contextlib import ExitStack

import torch

from optimum_evoesap.heterogeneous.layer_config import give_layer_config
from tests.model_matrix import layers_of


def left_out_with(layer, routed_tokens, expert):
    """The expert and, from each other group, the least used one."""
    size = layer.num_experts // layer.num_groups
    groups = [range(start, start + size) for start in range(0, layer.num_experts, size)]
    least = [sorted(group, key=lambda each: (int(routed_tokens[each]), each))[0] for group in groups]
    return {expert, *(partner for group, partner in zip(groups, least) if expert not in group)}


def watch(model, paths, calls, undo):
    """Note input and output of each call of some modules."""

    def keep(module, args, kwargs):
        module.seen_by_test = copy.deepcopy((args, kwargs))

    def note(path):
        def hook(module, args, kwargs, output):
            calls[path].append((*module.__dict__.pop("seen_by_test"), first(output).clone()))

        return hook

    for path in paths:
        module = model.get_submodule(path)
        undo.callback(module.register_forward_pre_hook(keep, with_kwargs=True).remove)
        undo.callback(module.register_forward_hook(note(path), with_kwargs=True).remove)


@torch.no_grad()
def recompute(model, paths, batches, routed_tokens, seed):
    """Scores by decoder layer.

    Args:
        model: The unpruned model.
        paths: By decoder layer, the names of the modules whose output is compared.
        batches: Model inputs.
        routed_tokens: By decoder layer, the tokens routed to each expert.
        seed: What the generator is set to before each batch.
    """
    layers = {layer.index: layer for layer in layers_of(model)}
    sums = {index: torch.zeros(layers[index].num_experts, dtype=torch.float64) for index in paths}
    noted = []
    for batch in batches:
        calls = {path: [] for each in paths.values() for path in each}
        with ExitStack() as undo:
            watch(model, calls, calls, undo)
            torch.manual_seed(seed)
            model(**batch, use_cache=False)
        noted.append((calls, batch.get("attention_mask")))
    for index in paths:
        for expert in range(layers[index].num_experts):
            left_out = left_out_with(layers[index], routed_tokens[index], expert)
            modules = sliced_modules(model, layers[index], left_out, paths[index])
            for calls, mask in noted:
                real = slice(None) if mask is None else mask.reshape(-1).bool()
                for path, module in zip(paths[index], modules):
                    for args, kwargs, whole in calls[path]:
                        args, kwargs = copy.deepcopy((args, kwargs))
                        change = (first(module(*args, **kwargs)) - whole).flatten(0, -2)[real]
                        sums[index][expert] += change.double().norm(dim=-1).sum().cpu()
    return sums


def sliced_modules(model, layer, left_out, paths):
    """Copies of modules of a layer from which the other experts are really removed."""
    modules = [model.get_submodule(path) for path in paths]
    twin, modules = copy.deepcopy((layer, modules))
    twin.remove_all_but([expert for expert in range(layer.num_experts) if expert not in left_out])
    give_layer_config(twin.modules, twin.config, {twin.attribute: twin.experts_per_block})
    return modules


def first(output):
    return output if torch.is_tensor(output) else output[0]
