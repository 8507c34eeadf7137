# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Options of small runs, parsed or given, and the sizes of the model that they are for."""

from __future__ import annotations

import argparse

from safetensors import safe_open

from optimum_evoesap.commands.prune import PruneCommand


LAYERS, EXPERTS, TOP_K, HIDDEN, EXPERT_WIDTH, VOCABULARY = 3, 8, 2, 32, 24, 300
SENTENCES = [f"The expert number {i} of the layer reads token {i * i} and answers {i % 7}." for i in range(60)]
FAST = [
    "--sequence-length", "16", "--calibration-samples", "4", "--search-samples", "4", "--batch-size", "4",
    "--population-size", "4", "--num-elites", "1", "--generations", "2",
]  # fmt: skip


def parse(*arguments):
    parser = argparse.ArgumentParser()
    PruneCommand.parse_args(parser)
    return parser.parse_args(["-m", "model", "-o", "out", *arguments])


def data_options(path):
    return ["--calibration-dataset", path, "--search-dataset", path]


def stored_bytes(folder):
    with safe_open(folder / "model.safetensors", "pt") as weights:
        return sum(weights.get_tensor(name).nbytes for name in weights.keys())
