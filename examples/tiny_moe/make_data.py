# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write the small data sets of the example as JSON lines: calibration, search, narrow search and held-out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tasks import TASKS, Example, generate, prompt_of


HERE = Path(__file__).parent
HELDOUT_FILE = HERE / "data" / "heldout.jsonl"
HELDOUT_PER_TASK = 40


def read_jsonl(path: str | Path) -> list[Example]:
    """Read one example from each line of a file."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_jsonl(path: str | Path, examples: list[Example]) -> None:
    """Write one example on each line of a file."""
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(example) + "\n" for example in examples)


def unique(examples: list[Example]) -> list[Example]:
    """Keep the first example of every prompt."""
    return list({prompt_of(example): example for example in reversed(examples)}.values())[::-1]


def without_answers(examples: list[Example]) -> list[Example]:
    """The messages and tasks alone; only what is asked needs the final answer beside them."""
    return [{name: value for name, value in example.items() if name != "answer"} for example in examples]


def heldout_examples(seed: int) -> list[Example]:
    """As many held-out examples for every task, no prompt twice."""
    examples = unique(generate(4 * HELDOUT_PER_TASK * len(TASKS), seed))
    return [example for task in TASKS for example in [e for e in examples if e["task"] == task][:HELDOUT_PER_TASK]]


def narrow_examples(num_examples: int, seed: int, exclude: set[str]) -> list[Example]:
    """Word problems and additions only: what a search set looks like that leaves most of the model's work out."""
    examples = generate(4 * num_examples, seed, tasks=("word_problem", "arithmetic"), exclude=exclude)
    examples = [e for e in unique(examples) if e["task"] == "word_problem" or " + " in prompt_of(e)]
    halves = [[e for e in examples if e["task"] == task] for task in ("word_problem", "arithmetic")]
    return [example for pair in zip(*halves) for example in pair][:num_examples]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE / "data")
    parser.add_argument("--calibration", type=int, default=2000, help="examples in calibration.jsonl")
    parser.add_argument("--search", type=int, default=1500, help="examples in search.jsonl")
    parser.add_argument("--narrow", type=int, default=1000, help="examples in search_narrow.jsonl")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    args.output.mkdir(parents=True, exist_ok=True)
    heldout = heldout_examples(args.seed)
    exclude = {prompt_of(example) for example in heldout}
    write_jsonl(args.output / "heldout.jsonl", heldout)
    texts = {
        "calibration": unique(generate(args.calibration, args.seed + 1, exclude=exclude)),
        "search": unique(generate(args.search, args.seed + 2, exclude=exclude)),
        "search_narrow": narrow_examples(args.narrow, args.seed + 3, exclude),
    }
    for name, examples in texts.items():
        write_jsonl(args.output / f"{name}.jsonl", without_answers(examples))


if __name__ == "__main__":
    main()
