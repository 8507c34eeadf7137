# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Surgery in memory leaves a model that does all that it did before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


# In a process of its own, in which no model with different layers has been built or loaded before.
AUXILIARY_LOSS = """
import sys
import torch
from tests.model_matrix import make_model, random_kept, random_tokens, sparse_model_of

model = make_model(sys.argv[1])
sparse_model = sparse_model_of(model)
sparse_model.remove(random_kept(sparse_model.layers, 1))
tokens = random_tokens(2, 16)
outputs = model(input_ids=tokens, labels=tokens, output_router_logits=True)
assert torch.isfinite(outputs.aux_loss) and outputs.aux_loss > 0
"""


@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_vl_moe"])
def test_the_auxiliary_loss_of_a_model_pruned_in_memory(model_type):
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    command = [sys.executable, "-c", AUXILIARY_LOSS, model_type]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
