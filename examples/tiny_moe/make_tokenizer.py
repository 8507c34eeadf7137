# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Train the tokenizer of the tiny model: byte-level BPE of 512 tokens, single digits and a chat template."""

from __future__ import annotations

import argparse
from pathlib import Path

from make_data import HELDOUT_FILE, read_jsonl
from tasks import Example, generate, prompt_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast


HERE = Path(__file__).parent

PAD, BOS, END = "<|pad|>", "<|bos|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"

# The generation block holds the end of the turn too, so that a mask of the assistant's tokens includes it.
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}"
    "{{- '<|assistant|>' }}"
    "{%- generation %}{{- message['content'] + '<|end|>' }}{%- endgeneration %}"
    "{%- else %}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)


def chat_text(example: Example) -> str:
    """What the chat template makes of an example, without the cost of Jinja: training renders millions of them."""
    question, reply = (message["content"] for message in example["messages"])
    return f"{BOS}{USER}{question}{END}{ASSISTANT}{reply}{END}"


def train_tokenizer(vocab_size: int, num_examples: int, seed: int) -> PreTrainedTokenizerFast:
    """Learn the merges from freshly drawn examples."""
    heldout = {prompt_of(example) for example in read_jsonl(HELDOUT_FILE)}
    examples = generate(num_examples, seed, exclude=heldout)
    tokenizer = Tokenizer(models.BPE())
    # Single digits let the model line up the places of two numbers, which arithmetic needs.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((m["content"] for e in examples for m in e["messages"]), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--vocab-size", type=int, default=512)
    parser.add_argument("--num-examples", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1000)
    args = parser.parse_args()

    train_tokenizer(args.vocab_size, args.num_examples, args.seed).save_pretrained(args.output)


if __name__ == "__main__":
    main()
