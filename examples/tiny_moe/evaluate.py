# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Exact match of the final answers on the held-out examples, by batched greedy generation."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from make_data import HELDOUT_FILE, read_jsonl
from tasks import Example, is_correct
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase


HERE = Path(__file__).parent


@torch.no_grad()
def generate_replies(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str], max_new_tokens: int
) -> list[str]:
    """Answer a batch of prompts greedily."""
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    input_ids, attention_mask = inputs["input_ids"].to(model.device), inputs["attention_mask"].to(model.device)
    output = model.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer.batch_decode(output[:, input_ids.shape[1] :], skip_special_tokens=True)


def complete(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, max_new_tokens: int = 96) -> str:
    """Answer one prompt greedily."""
    return generate_replies(model, tokenizer, [prompt], max_new_tokens)[0]


def exact_match(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: list[Example],
    batch_size: int = 80,
    max_new_tokens: int = 96,
) -> dict[str, float]:
    """Share of the examples whose final answer is generated exactly.

    Examples of like length share a batch, and a batch may generate a few tokens more than its longest reference
    reply: a model that runs on past that is wrong anyway, and need not be waited for.

    Args:
        model: The model, on any device; left in evaluation mode.
        tokenizer: Its tokenizer, with a chat template.
        examples: Held-out examples with `messages`, `task` and `answer`.
        batch_size: Prompts generated together.
        max_new_tokens: The most tokens any reply may have.

    Returns:
        The exact match of every task in the examples, and their mean under `average`.
    """
    model.eval()
    reply_length = [len(tokenizer(e["messages"][-1]["content"])["input_ids"]) for e in examples]
    prompt_length = [len(e["messages"][0]["content"]) for e in examples]
    order = sorted(range(len(examples)), key=lambda i: (reply_length[i], prompt_length[i]))
    hits: dict[str, list[bool]] = {task: [] for task in dict.fromkeys(e["task"] for e in examples)}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        limit = min(max_new_tokens, max(reply_length[i] for i in batch) + 4)
        prompts = [examples[i]["messages"][0]["content"] for i in batch]
        for i, reply in zip(batch, generate_replies(model, tokenizer, prompts, limit)):
            hits[examples[i]["task"]].append(is_correct(examples[i], reply))
    scores = {task: sum(found) / len(found) for task, found in hits.items()}
    return {**scores, "average": sum(scores.values()) / len(scores)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(HERE / "checkpoint"))
    parser.add_argument("--data", type=Path, default=HELDOUT_FILE)
    parser.add_argument("--batch-size", type=int, default=80)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).to(args.device)
    start = time.perf_counter()
    scores = exact_match(model, tokenizer, read_jsonl(args.data), args.batch_size)
    for task, score in scores.items():
        print(f"{task:>12} {score:.3f}")
    print(f"{time.perf_counter() - start:.1f} seconds")


if __name__ == "__main__":
    main()
