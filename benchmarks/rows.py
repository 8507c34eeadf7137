# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Reading rows on a CPU: marking the answers of long conversations, and one huge row. `python -m benchmarks.rows`.

The other way to mark answers renders and tokenizes the conversation anew up to and after each turn. It takes minutes
for long conversations, so `--turns` sets how long the longest is that it is run on.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from optimum_evoesap.data import DataOptions, prepare_data
from optimum_evoesap.data.encoding import encode_document


TOKENIZER = Path(__file__).parents[1] / "examples" / "tiny_moe" / "checkpoint"
SENTENCE = "The expert of this layer reads {number} words of a text, and tells the next one what it found in them. "


def conversation(turns: int, characters: int) -> list[dict[str, str]]:
    """A conversation of turns of about so many characters, no two alike."""
    texts = (
        "".join(SENTENCE.format(number=(turn, part)) for part in range(characters // 100)) for turn in range(turns)
    )
    return [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * turns, texts)]


def mark_by_prefixes(messages: list[dict[str, str]], tokenizer: Any) -> list[int]:
    """Labels by rendering and tokenizing up to and after each answer."""

    def rendered(number: int, **arguments: Any) -> str:
        return tokenizer.apply_chat_template(messages[:number], tokenize=False, **arguments)

    def tokens(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    input_ids = tokens(rendered(len(messages)))
    labels = [-100] * len(input_ids)
    for turn in range(1, len(messages), 2):
        end = rendered(turn + 1).rstrip()
        first, last = len(tokens(rendered(turn, add_generation_prompt=True))), len(tokens(end))
        labels[first:last] = input_ids[first:last]
    return labels


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """The best time of three, and what the function returns."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
        if times[-1] > 5:
            break
    return min(times), result


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=60, help="longest conversation marked in the other way")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    encode_document(conversation(2, 100), tokenizer, "auto")
    print("turns of 2 kB   tokens   all of them   a window of 4096   prefix by prefix   ratio")
    for turns in (20, 60, 200, 400):
        messages = conversation(turns, 2000)
        whole, encoded = seconds(lambda messages=messages: encode_document(messages, tokenizer, "auto"))
        window, _ = seconds(lambda messages=messages: encode_document(messages, tokenizer, "auto", 4096))
        line = f"{turns:13}   {len(encoded.input_ids):6}   {whole:9.3f} s   {window:14.3f} s"
        if turns <= arguments.turns:
            slow, labels = seconds(lambda messages=messages: mark_by_prefixes(messages, tokenizer))
            assert labels == encoded.labels
            line += f"   {slow:14.3f} s   {slow / whole:4.0f}x"
        print(line)
    text = "".join(SENTENCE.format(number=number) for number in range(20_000_000 // 100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = DataOptions(num_samples=4, sequence_length=16)
    huge, _ = seconds(lambda: prepare_data([text], options, tokenizer))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"a row of {len(text) / 1e6:.0f} MB, four windows of 16 tokens: {huge:.3f} s, {more:.0f} MB more memory")


if __name__ == "__main__":
    main()
