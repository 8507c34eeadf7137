# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Every way in which transformers loads and runs a model works for a non-uniform checkpoint, in a fresh process."""

from __future__ import annotations

import copy

import torch
from transformers import AutoTokenizer

from tests.model_matrix import make_config
from tests.model_matrix.multimodal import IMAGE_INPUTS

from .checkpoints import EXPECTED, logits, read_errors, run_fresh, save_pruned, show
from .ways import GREEDY, WAYS


CHAT = [{"role": "user", "content": "Continue: 2, 13, 23, 34, 44"}]
NEEDS_TOKENIZER = {"text_generation_pipeline"}
NEEDS_IMAGES = {"image_text_to_text"}
# Slow ones are shown on one architecture.
ONCE = {"compiled", "continuous_batching", "device_map_with_disk", "attention_implementation"}
EVERYWHERE = [name for name in WAYS if name not in NEEDS_TOKENIZER | NEEDS_IMAGES | ONCE]
CHECKPOINTS = {
    "tiny_moe": [name for name in WAYS if name not in NEEDS_IMAGES],
    "qwen3_moe": EVERYWHERE,
    "deepseek_v3": EVERYWHERE,
    "gpt_oss": EVERYWHERE,
    "qwen3_vl_moe": sorted(NEEDS_IMAGES),
}


def save_checkpoint(folder, name):
    """Save a pruned model, with what it does in memory in each way."""
    model = save_pruned(folder, name)
    expected = torch.load(folder / EXPECTED, weights_only=True) | {"ways": CHECKPOINTS[name]}
    tokens = expected["tokens"]
    if name == "qwen3_vl_moe":
        expected["with_image"] = IMAGE_INPUTS[name](make_config(name))
        with torch.no_grad():
            expected["image_logits"] = model(**expected["with_image"]).logits
    else:
        expected["greedy"] = model.generate(tokens, **GREEDY).tolist()
        expected["bfloat16_logits"] = logits(copy.deepcopy(model).to(torch.bfloat16), tokens)
        model.train()(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
        expected["gradients"] = {name: parameter.grad for name, parameter in model.named_parameters()}
    if name == "tiny_moe":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        prompt = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        answer = model.eval().generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        expected |= {"chat": CHAT, "reply": tokenizer.decode(answer, skip_special_tokens=True)}
    torch.save(expected, folder / EXPECTED)


def test_every_way_to_load_and_run(tmp_path):
    folders = [tmp_path / name for name in CHECKPOINTS]
    for folder in folders:
        save_checkpoint(folder, folder.name)
    code = "from tests.checkpoint.ways import main; main(sys.argv[1:])"
    errors = read_errors(run_fresh(code, *folders))
    assert errors.keys() == {f"{name} {way}" for name, ways in CHECKPOINTS.items() for way in ways}
    assert not any(errors.values()), show(errors)
