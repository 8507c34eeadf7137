# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Train the models of the study, all at once on the GPUs there are. Run with `python -m benchmarks.quality.train`.

Each model is a process of its own and one file in the output folder; `train.json` tells of all of them. What is not
an option here is handed on to `benchmarks.quality.train_one` and the training of `examples/tiny_moe`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer

from .families import FAMILIES, build


TOKENIZER = Path(__file__).parents[2] / "examples" / "tiny_moe" / "checkpoint"


def visible_gpus(limit: int | None) -> list[str]:
    """Names of the GPUs to use, as `CUDA_VISIBLE_DEVICES` takes them."""
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:count] if visible else [str(index) for index in range(count)]
    return names[:limit]


def shared_out(models: list[tuple[str, int]], gpus: list[str]) -> dict[tuple[str, int], str]:
    """A GPU for each model, the largest first and always the GPU with the least to do.

    All experts are computed for every token, so the work of a step goes with the parameters.
    """
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    work = {family: build(family, tokenizer).num_parameters() for family in {family for family, _ in models}}
    load = dict.fromkeys(gpus, 0)
    shares = {}
    for model in sorted(models, key=lambda model: work[model[0]], reverse=True):
        shares[model] = min(load, key=load.get)
        load[shares[model]] += work[model[0]]
    return shares


class Training:
    """The process that trains one model; what it prints is printed with its name in front."""

    def __init__(self, name: str, options: list[str], environment: dict[str, str], report: Path):
        self.name, self.report = name, report
        command = [sys.executable, "-m", "benchmarks.quality.train_one", *options, "--report", str(report)]
        self.process = subprocess.Popen(
            command,
            env=os.environ | environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._print, daemon=True)
        self.reader.start()

    def _print(self) -> None:
        for line in self.process.stdout:
            print(f"[{self.name}] {line}", end="", flush=True)

    def finish(self, deadline: float) -> dict:
        """Wait until the deadline; the report, with `error` where the process did not do all of its work."""
        error = None
        try:
            self.process.wait(max(0.0, deadline - time.time()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            error = "stopped at the deadline"
        self.reader.join(5)
        if error is None and self.process.returncode:
            error = f"ended with {self.process.returncode}"
        report = json.loads(self.report.read_text()) if self.report.exists() else {}
        return report | ({"error": error} if error else {})


def train_all(args: argparse.Namespace, others: list[str], deadline: float, reports: Path) -> dict[str, dict]:
    """Train every model; the reports by name."""
    models = [(family, seed) for seed in args.seeds for family in args.families]
    gpus = visible_gpus(args.gpus)
    places = shared_out(models, gpus) if gpus else {}
    cores = max(2, len(os.sched_getaffinity(0)) // len(models))
    trainings = []
    for family, seed in models:
        name = f"{family}-{seed}"
        options = ["--family", family, "--seed", str(seed), "--output", str(args.output / f"{name}.safetensors")]
        options += ["--deadline", str(deadline), "--workers", str(cores - 1)]
        options += ["--steps", str(args.steps)] if args.steps else []
        # Each process keeps to its share of the cores, also while it tokenizes and compiles.
        environment = {"TOKENIZERS_PARALLELISM": "false", "TORCHINDUCTOR_COMPILE_THREADS": str(cores)}
        environment |= {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(cores)}
        environment |= {"CUDA_VISIBLE_DEVICES": places[family, seed]} if places else {}
        print(
            f"{name} trains on {'GPU ' + places[family, seed] if places else 'the CPU'} with {cores} cores", flush=True
        )
        trainings.append(Training(name, [*options, *others], environment, reports / f"{name}.json"))
    return {training.name: training.finish(deadline) for training in trainings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the models and train.json")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=None, help="the most steps for each model")
    parser.add_argument("--gpus", type=int, default=None, help="the most GPUs to use; all by default")
    parser.add_argument("--minutes", type=float, default=9.0, help="everything is done after this time")
    args, others = parser.parse_known_args()
    deadline = time.time() + 60 * args.minutes
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as reports:
        models = train_all(args, others, deadline, Path(reports))
    described = {
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
    (args.output / "train.json").write_text(json.dumps(described | {"models": models}, indent=1) + "\n")
    for name, report in models.items():
        print(name, json.dumps(report), flush=True)
    if any("error" in report for report in models.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
