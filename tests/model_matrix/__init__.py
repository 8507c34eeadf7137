# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The model matrix: one tiny config a supported architecture. Every law is tested over every row.

A new architecture is one more row in `text.py` or `multimodal.py`. Routers, biases and selection biases get N(0, 1)
values: with zeros, as the models are born, several wrong masks pass.
"""

from __future__ import annotations

import os
import random
import tempfile

import torch
from transformers import PretrainedConfig, PreTrainedModel

from optimum_evoesap.adapters import MoELayer, Structure, find_moe_layers, model_structure
from optimum_evoesap.models.sparse_model import SparseModel

from . import multimodal, remote_code, text  # noqa: F401  (they add the rows)
from .rows import ROWS, VOCABULARY


# Where the models of the matrix live: the laws hold on every device.
DEVICE = os.environ.get("EVOESAP_TEST_DEVICE", "cpu")
_structures: dict[tuple, Structure] = {}
MODEL_TYPES = tuple(name for name, row in ROWS.items() if row.is_installed)


def make_config(model_type: str) -> PretrainedConfig:
    """The tiny config of one row."""
    return ROWS[model_type].make_config()


def structure_of(model: PreTrainedModel) -> Structure:
    """The structure of a model of the matrix; found once for each class and sizes."""
    key = (type(model), repr(model.config.get_text_config(decoder=True).num_hidden_layers))
    if key not in _structures:
        _structures[key] = model_structure(model)
    return _structures[key]


def layers_of(model: PreTrainedModel) -> list[MoELayer]:
    """The sparse layers of a model of the matrix."""
    return find_moe_layers(model, structure_of(model))


def sparse_model_of(model: PreTrainedModel) -> SparseModel:
    """A model of the matrix with its sparse layers."""
    return SparseModel(model, structure_of(model))


def make_model(model_type: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """A random model of one row, with random routers and biases.

    In another dtype than float32 it comes from a checkpoint: which tensors then stay in float32 is up to the class.
    """
    torch.manual_seed(seed)
    row = ROWS[model_type]
    model = row.load_class()(make_config(model_type)).eval()
    with torch.no_grad():
        for block in (block for layer in layers_of(model) for block in layer.blocks):
            for part in block.parts:
                if part in block.router_tensors or "bias" in part.name:
                    part.value.normal_()
        if row.prepare is not None:
            row.prepare(model)
    if dtype == torch.float32:
        return model.to(DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return row.load_class().from_pretrained(folder, dtype=dtype).eval().to(DEVICE)


def uniformly_kept(layer: MoELayer, number: int) -> list[int]:
    """The first experts of each router group of each block, `number` a block."""
    size = layer.num_experts // layer.num_groups
    each = number * len(layer.blocks) // layer.num_groups
    return [group * size + expert for group in range(layer.num_groups) for expert in range(each)]


def random_kept(layers: list[MoELayer], seed: int, extreme: bool = False) -> dict[int, list[int]]:
    """Kept experts drawn at random, a different number from each layer; the same number from each router group.

    With `extreme`, the fewest possible in the first sparse layer and all in the others.
    """
    generator = random.Random(seed)
    kept = {}
    for position, layer in enumerate(layer for layer in layers if not layer.unprunable_reason):
        size = layer.num_experts // layer.num_groups
        least = layer.min_kept // layer.num_groups
        number = generator.randint(least, size - 1)
        if extreme:
            number = least if position == 0 else size
        kept[layer.index] = sorted(
            group * size + expert
            for group in range(layer.num_groups)
            for expert in generator.sample(range(size), number)
        )
    return kept


def random_tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    """Token ids without special ones, shape (batch, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY - 6, (batch, length), generator=generator).to(DEVICE)
