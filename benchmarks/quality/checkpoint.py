# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A trained model as one file: safetensors with the config in the metadata."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel


def save(model: PreTrainedModel, path: str | Path) -> None:
    """Write the parameters in bfloat16; buffers, such as a bias on the selection, keep their type.

    Args:
        model: The model, on any device.
        path: The file to write.
    """
    parameters = {name for name, _ in model.named_parameters()}
    tensors = {
        name: tensor.detach().to("cpu", torch.bfloat16 if name in parameters else tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    save_file(tensors, path, metadata={"config": json.dumps(config)})


def load(path: str | Path) -> PreTrainedModel:
    """Build the model of a file that `save` wrote.

    Args:
        path: The file.

    Returns:
        The model in evaluation mode, in float32 on the CPU.
    """
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    model_class = getattr(transformers, config["architectures"][0])
    model = model_class(model_class.config_class.from_dict(config | {"dtype": "float32"}))
    model.load_state_dict(tensors)
    return model.eval()
