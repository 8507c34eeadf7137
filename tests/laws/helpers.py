# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the laws share: one text, its logits, and a model pruned virtually, really and reloaded."""

from __future__ import annotations

import pytest
import torch
import transformers

from optimum_evoesap.models.surgery import remove_experts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.memory import aligned
from tests.model_matrix import DEVICE, ROWS, layers_of, make_model, random_tokens, structure_of


TOKENS = random_tokens(2, 24)
# They predict something else than the next token of the text, so that candidates cannot be scored on it.
WITHOUT_NEXT_TOKEN = ("diffusion_gemma",)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    torch.manual_seed(0)  # for DiffusionGemma, which starts from random tokens
    return model(input_ids=TOKENS).logits


def prune(model, kept):
    """The logits under the virtual slice, then those of the model that is really sliced."""
    layers = layers_of(model)
    with VirtualSlice(layers, kept):
        virtual = logits(model)
    remove_experts(model, layers, structure_of(model), kept)
    return virtual, logits(model)


def reload(model, folder, **options):
    model.save_pretrained(folder, **options)
    return aligned(type(model).from_pretrained(folder, dtype="auto").eval().to(DEVICE))


def skip_what_fails_unpruned(model_type, dtype=torch.float32, needs="logits", **options):
    """Some older releases of transformers cannot do something with a model of their own."""
    try:
        assert torch.is_tensor(getattr(make_model(model_type, dtype)(input_ids=TOKENS, **options), needs, None))
    except (AttributeError, AssertionError, RuntimeError, TypeError) as error:
        if all(row.is_installed for row in ROWS.values()):
            raise  # the newest release can do all; here it would be this package that breaks it
        pytest.skip(f"the unpruned {model_type} fails with transformers {transformers.__version__}: {error}")
