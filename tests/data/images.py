# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Images, conversations about them, and processors that read both."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import transformers
from transformers import AutoTokenizer, LlavaProcessor, Qwen3VLProcessor
from transformers.processing_utils import ProcessorMixin

from optimum_evoesap.data import DataOptions
from optimum_evoesap.data.processors import text_tokenizer
from tests.model_matrix import make_config
from tests.model_matrix.multimodal import IMAGE_INPUTS


TOKENIZER = Path(__file__).parents[2] / "examples" / "tiny_moe" / "checkpoint"
SPECIAL = ["<image>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]

CONTENT = (
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endif %}"
)
ONLY_PARTS = "{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}"
PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' }}CONTENT{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MARKED = PLAIN.replace(
    "CONTENT{{ '<|end|>' }}",
    "{% if m.role == 'assistant' %}{% generation %}CONTENT{{ '<|end|>' }}{% endgeneration %}"
    "{% else %}CONTENT{{ '<|end|>' }}{% endif %}",
)
TEMPLATES = [
    PLAIN.replace("CONTENT", CONTENT),
    MARKED.replace("CONTENT", CONTENT),
    PLAIN.replace("CONTENT", ONLY_PARTS),
]


def options(num_samples=8, sequence_length=64, **changes):
    return DataOptions(num_samples, sequence_length, **changes)


def row(model_type="qwen3_vl_moe"):
    return IMAGE_INPUTS[model_type](make_config(model_type))


def image(seed=0):
    pillow = pytest.importorskip("PIL.Image")
    pixels = numpy.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=numpy.uint8)
    return pillow.fromarray(pixels)


def make_tokenizer():
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.add_tokens(SPECIAL, special_tokens=True)
    tokenizer.chat_template = None
    return tokenizer


def make_processor(template=TEMPLATES[0]):
    pytest.importorskip("PIL")
    reads_images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    return LlavaProcessor(
        reads_images, make_tokenizer(), patch_size=8, vision_feature_select_strategy="full", chat_template=template
    )


class QwenImageProcessor(Qwen3VLProcessor):
    """Without the part for videos, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        for kind in ("image", "video"):
            token = f"<|{kind}_pad|>"
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def make_qwen_processor(template=TEMPLATES[0]):
    pytest.importorskip("PIL")
    reads_images = transformers.Qwen2VLImageProcessorPil(patch_size=4, min_pixels=256, max_pixels=512)
    template = template.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    return QwenImageProcessor(reads_images, make_tokenizer(), chat_template=template)


def question(text="What is this?", **source):
    return {"role": "user", "content": [{"type": "image", **source}, {"type": "text", "text": text}]}


def answer(text="a dog"):
    return {"role": "assistant", "content": text}


def chat(seed=0):
    return [question(image=image(seed)), answer(f"dog number {seed}")]


def scored_text(processor, sequence):
    return text_tokenizer(processor).decode(sequence["labels"][sequence["labels"] != -100])
