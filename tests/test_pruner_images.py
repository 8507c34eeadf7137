# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The whole way on data with images."""

from __future__ import annotations

import torch
import transformers
from transformers import AutoProcessor, LlavaProcessor

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from tests.data.images import SPECIAL, answer, chat, image, make_processor, make_qwen_processor, question
from tests.model_matrix import make_config
from tests.model_matrix.rows import ROWS


def save_model(folder, model_type, processor):
    """A tiny multimodal model that fits the processor, with it in one folder."""
    config, tokenizer = make_config(model_type), processor.tokenizer
    config.text_config.vocab_size = len(tokenizer)
    config.image_token_id = processor.image_token_id
    if hasattr(config, "vision_start_token_id"):
        config.video_token_id = processor.video_token_id
        config.vision_start_token_id, config.vision_end_token_id = tokenizer.convert_tokens_to_ids(SPECIAL[3:])
    torch.manual_seed(0)
    model = ROWS[model_type].load_class()._from_config(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


CONFIG = {"sparsity": 0.5, "generations": 2, "population_size": 4, "num_elites": 2, "sequence_length": 64}
CONFIG |= {"calibration_samples": 4, "search_samples": 4, "batch_size": 2}


def test_prune_a_multimodal_model_on_images(tmp_path):
    processor = make_processor()
    save_model(tmp_path / "model", "internvl (qwen3_moe)", processor)
    pruner = MoEPruner.from_pretrained(tmp_path / "model", EvoESAPConfig(**CONFIG))
    assert type(pruner.model).__name__ == "InternVLForConditionalGeneration"
    assert isinstance(pruner.tokenizer, LlavaProcessor)
    pruned = pruner.prune(tmp_path / "out", [chat(seed) for seed in range(4)], [chat(seed) for seed in range(4, 9)])

    result = PruningResult.load(tmp_path / "out")
    assert result.data["calibration"]["description"].endswith("4 of them with images or other inputs")
    assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"}
    assert all(0 < score < 1 for score in result.scores.values())
    saved = AutoProcessor.from_pretrained(tmp_path / "out")
    inputs = saved.apply_chat_template([chat()], tokenize=True, return_dict=True, return_tensors="pt")
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, pruned(**inputs).logits)


def test_statistics_see_the_images():
    processor = make_processor()
    measured = []
    for seed in (1, 2):
        model = make_matching_model(processor)
        pruner = MoEPruner(model, EvoESAPConfig(**CONFIG), processor)
        messages = [question(image=image(seed)), answer()]
        measured.append(pruner.calibrate([messages]))
        tokens = processor.apply_chat_template([messages], tokenize=True, return_dict=True, return_tensors="pt")
        assert measured[-1].num_tokens == tokens["input_ids"].numel()
    layer = pruner.sparse_layers[0]
    norms = [statistics.layers[layer].norm_sum for statistics in measured]
    assert not torch.allclose(*norms)


def make_matching_model(processor):
    config = make_config("internvl (qwen3_moe)")
    config.text_config.vocab_size = len(processor.tokenizer)
    config.image_token_id = processor.image_token_id
    torch.manual_seed(0)
    return ROWS["internvl (qwen3_moe)"].load_class()._from_config(config).eval()


def test_prune_qwen_on_images_and_text(tmp_path):
    processor = make_qwen_processor()
    model = save_model(tmp_path / "model", "qwen3_vl_moe", processor)
    pruner = MoEPruner(model, EvoESAPConfig(**CONFIG), processor)
    text = [[{"role": "user", "content": "What is two plus two?"}, answer("four")]] * 8
    pruner.prune(tmp_path / "out", [*text, chat(0), chat(1)], [chat(seed) for seed in range(5)])
    assert pruner.scores["best"] >= pruner.scores["uniform"] > 0
    assert (tmp_path / "out" / "processor_config.json").is_file()
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == processor.chat_template
