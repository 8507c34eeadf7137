# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Ways to load and run a pruned checkpoint, each compared with the model that was pruned, all in one fresh process.

`python -m tests.checkpoint.ways FOLDER...` prints a JSON object from way to error, which is empty where all is well.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    ContinuousBatchingConfig,
    GenerationConfig,
    pipeline,
)
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

import optimum_evoesap  # noqa: F401  (all that a user does)


GREEDY = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
WAYS: dict[str, Callable[[Path, dict[str, Any]], None]] = {}


def way(check: Callable[[Path, dict[str, Any]], None]) -> Callable[[Path, dict[str, Any]], None]:
    WAYS[check.__name__] = check
    return check


def load(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options)


@torch.no_grad()
def logits(model: Any, expected: dict[str, Any]) -> torch.Tensor:
    return model(input_ids=expected["tokens"]).logits


@way
def auto_class(folder, expected):
    assert torch.equal(logits(load(folder), expected), expected["logits"])


@way
def image_text_to_text(folder, expected):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        answer = model(**expected["with_image"]).logits
    assert torch.equal(answer, expected["image_logits"])


@way
def dynamic_cache(folder, expected):
    assert load(folder).generate(expected["tokens"], **GREEDY).tolist() == expected["greedy"]


@way
def static_cache(folder, expected):
    answer = load(folder).generate(expected["tokens"], cache_implementation="static", **GREEDY)
    assert answer.tolist() == expected["greedy"]


@way
def continuous_batching(folder, expected):
    model = load(folder)
    prompts = [row[: 24 - 5 * i].tolist() for i, row in enumerate(expected["tokens"])]
    alone = [model.generate(torch.tensor([prompt]), **GREEDY)[0, len(prompt) :].tolist() for prompt in prompts]
    assert alone[0] == expected["greedy"][0][24:]
    together = model.generate_batch(
        prompts,
        generation_config=GenerationConfig(**GREEDY | {"eos_token_id": -1}),
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=8, max_batch_tokens=64),
        progress_bar=False,
    )
    assert [answer.generated_tokens for answer in together.values()] == alone


@way
def text_generation_pipeline(folder, expected):
    generate = pipeline("text-generation", model=str(folder), dtype=torch.float32)
    (answer,) = generate(expected["chat"], max_new_tokens=24, do_sample=False)
    assert answer["generated_text"][-1]["content"] == expected["reply"]


@way
def compiled(folder, expected):
    model = load(folder, experts_implementation="batched_mm")
    answer = logits(torch.compile(model, fullgraph=True), expected)
    torch.testing.assert_close(answer, expected["logits"], atol=1e-3, rtol=1e-3)


@way
def device_map_auto(folder, expected):
    assert torch.equal(logits(load(folder, device_map="auto"), expected), expected["logits"])


@way
def device_map_with_disk(folder, expected):
    layers = load(folder, device_map="auto").model.layers
    device_map = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    device_map |= {f"model.layers.{index}": ("cpu", "disk")[index % 2] for index in range(len(layers))}
    with tempfile.TemporaryDirectory() as offloaded:
        model = load(folder, device_map=device_map, offload_folder=offloaded)
        assert any(parameter.is_meta for parameter in model.parameters())
        # Weights from the disk lie at other addresses, which may change the last bit of a sum.
        torch.testing.assert_close(logits(model, expected), expected["logits"], atol=1e-3, rtol=1e-3)


@way
def dtypes(folder, expected):
    model, loaded = load(folder), load(folder, dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16
    weights = loaded.state_dict()
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensor.data = tensor.data.to(weights[name].dtype)
    assert torch.equal(logits(loaded, expected), logits(model, expected))
    assert torch.equal(logits(load(folder).to(torch.bfloat16), expected), expected["bfloat16_logits"])


@way
def attention_implementation(folder, expected):
    model = load(folder, attn_implementation="sdpa")
    model.set_attn_implementation("eager")
    with torch.no_grad():
        outputs = model(input_ids=expected["tokens"], output_attentions=True)
    assert all(each is not None for each in outputs.attentions), "only eager attention returns its weights"
    assert torch.equal(outputs.logits, logits(load(folder, attn_implementation="eager"), expected))


@way
def experts_implementation(folder, expected):
    model = load(folder, experts_implementation="eager")
    calls = []
    run = ALL_EXPERTS_FUNCTIONS["batched_mm"]
    ALL_EXPERTS_FUNCTIONS["batched_mm"] = lambda self, *args: calls.append(self) or run(self, *args)
    try:
        eager = logits(model, expected)
        assert not calls
        model.set_experts_implementation("batched_mm")
        torch.testing.assert_close(logits(model, expected), eager, atol=1e-3, rtol=1e-3)
    finally:
        ALL_EXPERTS_FUNCTIONS["batched_mm"] = run
    assert len(calls) == len(expected["kept"])


@way
def training(folder, expected):
    """Gradients reach every router and expert that the model before saving has gradients for, and the loss falls."""
    tokens = expected["tokens"]
    model = load(folder).train()
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(4):
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
            assert gradients.keys() == expected["gradients"].keys()
            for name, gradient in expected["gradients"].items():
                torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-4, msg=name)
        optimizer.step()
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.1, losses


def main(folders: list[str]) -> None:
    torch.set_num_threads(1)
    errors = {}
    for folder in map(Path, folders):
        expected = torch.load(folder / "expected.pt", weights_only=True)
        for name in expected["ways"]:
            try:
                WAYS[name](folder, expected)
            except Exception:
                errors[f"{folder.name} {name}"] = traceback.format_exc()
            else:
                errors[f"{folder.name} {name}"] = ""
    print("RESULT " + json.dumps(errors))


if __name__ == "__main__":
    main(sys.argv[1:])
