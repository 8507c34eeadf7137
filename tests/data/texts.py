# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Texts, conversations, chat templates of several kinds, and a tokenizer trained on them."""

from __future__ import annotations

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from optimum_evoesap.data import DataOptions, prepare_data


HEADER = "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}"
PROMPT = "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
PLAIN = HEADER + "{{ m.content + eos_token + '\n' }}" + PROMPT
MARKED = (
    HEADER + "{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}{% endgeneration %}"
    "{% else %}{{ m.content + eos_token }}{% endif %}{{ '\n' }}" + PROMPT
)
# Like the reasoning models: only the last turn keeps an (empty) reasoning block.
REASONING = (
    HEADER + "{% if m.role == 'assistant' and loop.last %}{{ '<think></think>\n' }}{% endif %}"
    "{{ m.content + eos_token + '\n' }}" + PROMPT
)
# What came before a turn changes with what follows it: no turn can be told apart.
REWRITING = "{{ messages | length }}" + PLAIN
REMINDING = HEADER + "{{ m.content }}{{ ' Now answer.' if loop.last and m.role == 'user' }}{{ '\n' }}" + PROMPT
FORGETTING = HEADER + "{{ m.content if loop.last or m.role == 'user' else '' }}{{ '\n' }}" + PROMPT
ROLE_CHECKING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN

SENTENCES = [
    f"The {name} expert routes token {i} to the layer." for i, name in enumerate(["first", "second", "third"])
]
CHAT = [
    {"role": "user", "content": "What is two plus two?"},
    {"role": "assistant", "content": "  It is four."},
    {"role": "user", "content": "And three?"},
    {"role": "assistant", "content": "Five, naïvely."},
]


def make_tokenizer(chat_template=None, **special_tokens):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, *(message["content"] for message in CHAT)], trainer)
    special_tokens = special_tokens or {"eos_token": "<|end|>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special_tokens)
    fast.chat_template = chat_template
    return fast


def options(num_samples=4, sequence_length=16, **changes):
    return DataOptions(num_samples, sequence_length, **changes)


def decoded(tokenizer, sequence):
    return tokenizer.decode(sequence["input_ids"])


def scored_text(tokenizer, data):
    return [tokenizer.decode(item["labels"][item["labels"] != -100]) for item in data.sequences]


def single(data, tokenizer, **changes):
    return prepare_data(data, options(sequence_length=256, packing=False, **changes), tokenizer)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
