# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Train one model of the study in the time there is, and save it. `benchmarks.quality.train` starts one for each."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from . import checkpoint
from .families import FAMILIES, build
from .selection_bias import SelectionBias


TINY_MOE = Path(__file__).parents[2] / "examples" / "tiny_moe"
sys.path.insert(0, str(TINY_MOE))

import train as tiny_moe  # noqa: E402
from evaluate import exact_match  # noqa: E402
from make_data import HELDOUT_FILE, read_jsonl  # noqa: E402


BIAS_RATE = 1e-3


class FirstThatWorks:
    """A step of training done in the first way that works on this machine; each that fails is reported."""

    def __init__(self, ways: dict[str, Callable[[], tiny_moe.Step]]):
        self.ways, self.step, self.name = list(ways.items()), None, ""

    def __call__(self, tokens: torch.Tensor, numbers: torch.Tensor) -> tiny_moe.Losses:
        while True:
            try:
                if self.step is None:
                    self.name, make = self.ways.pop(0)
                    self.step = make()
                    print(f"steps are {self.name}", flush=True)
                return self.step(tokens, numbers)
            except Exception:
                if not self.ways:
                    raise
                traceback.print_exc()
                print(f"warning: steps that are {self.name} fail here; going on without", flush=True)
                self.step = None


def balanced_step(model: PreTrainedModel, lr: torch.Tensor, args: argparse.Namespace) -> tiny_moe.Step:
    """A step that also moves the biases on the selection, recorded and compiled where that works."""
    biases = SelectionBias(model, BIAS_RATE)
    # transformers installs its hooks in the first pass, which could not be compiled.
    with torch.no_grad():
        model.model(torch.ones(1, 2, dtype=torch.int64, device=lr.device), output_router_logits=True)

    def make(compiled: bool) -> tiny_moe.Step:
        options = argparse.Namespace(**vars(args) | {"compile": compiled})
        return tiny_moe.make_step(model, lr, options, lambda numbers: biases.update(numbers >= 0, lr / args.lr))

    ways: dict[str, Callable[[], tiny_moe.Step]] = {}
    if lr.is_cuda and args.compile:
        ways["compiled and recorded"] = lambda: tiny_moe.RecordedStep(make(True))
        ways["compiled"] = lambda: make(True)
    if lr.is_cuda:
        ways["recorded"] = lambda: tiny_moe.RecordedStep(make(False))
    elif args.compile:
        ways["compiled"] = lambda: make(True)
    ways["ordinary"] = lambda: make(False)
    return FirstThatWorks(ways)


def evaluate(path: Path, tokenizer: PreTrainedTokenizerBase, device: str, examples: int | None) -> dict[str, float]:
    """Held-out exact match of a saved model, the sums in float32."""
    torch.set_float32_matmul_precision("highest")
    model = tiny_moe.with_dense_experts(checkpoint.load(path).to(device))
    return exact_match(model, tokenizer, read_jsonl(HELDOUT_FILE)[:examples], batch_size=320)


def train_model(args: argparse.Namespace) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int]:
    """A model trained until its last step or until only the reserve is left, its tokenizer, and the steps done."""
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    tokenizer = AutoTokenizer.from_pretrained(TINY_MOE / "checkpoint")
    model = tiny_moe.with_dense_experts(build(args.family, tokenizer)).to(args.device)
    left = args.deadline - time.time()
    args.seconds = left - args.reserve
    if args.seconds <= 0:
        raise ValueError(f"{left:.0f} seconds are left, of which saving and evaluation take {args.reserve:.0f}")
    return model, tokenizer, tiny_moe.train(model, tokenizer, args, balanced_step)


def train_one(args: argparse.Namespace) -> dict:
    """Train, save and evaluate a model; the report of it."""
    start = time.time()
    model, tokenizer, steps = train_model(args)
    checkpoint.save(model, args.output)
    report = {
        "family": args.family,
        "seed": args.seed,
        "parameters": model.num_parameters(),
        "bytes": args.output.stat().st_size,
        "steps": steps,
        "training_seconds": round(time.time() - start, 1),
        "largest_selection_bias": max(
            (float(value.abs().max()) for name, value in model.named_buffers() if "correction_bias" in name),
            default=None,
        ),
    }
    # Before the evaluation, so that it is known of a model too that was cut off there.
    args.report.write_text(json.dumps(report))
    report["exact_match"] = evaluate(args.output, tokenizer, args.device, args.heldout)
    args.report.write_text(json.dumps(report))
    return report


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=list(FAMILIES), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--report", type=Path, required=True, help="the JSON file to write")
    parser.add_argument(
        "--deadline", type=float, required=True, help="the time, as `time.time()` gives it, to be done"
    )
    parser.add_argument("--reserve", type=float, default=40, help="seconds kept for saving and evaluation")
    parser.add_argument("--heldout", type=int, default=None, help="held-out examples, all by default")
    own, others = parser.parse_known_args(arguments)
    # The rest are the options of the example, the defaults of which made the bundled model.
    return argparse.Namespace(**vars(tiny_moe.parse_args(["--eval-every", str(10**9), *others])) | vars(own))


if __name__ == "__main__":
    print(json.dumps(train_one(parse_args())), flush=True)
