# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints to serve, what transformers makes of them, and vLLM to compare it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .models import PROMPTS, SERVED, Served, make_served, make_tiny_moe


# `make test-vllm` has it, in an environment of its own.
needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
ALL = (*SERVED, "tiny_moe")
GENERATED = 16
# Nothing of vLLM's goes beyond this machine, and its cache for keys and values needs no more than this.
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class Checkpoints:
    """Pruned checkpoints, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: dict[str, Served] = {}

    def __getitem__(self, name: str) -> Served:
        if name not in self._made:
            make = make_tiny_moe if name == "tiny_moe" else make_served
            self._made[name] = make(name, self._root / name, GENERATED)
        return self._made[name]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Pruned checkpoints by name."""
    return Checkpoints(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def vllm(tmp_path_factory):
    """Run jobs for `generate.py` in a new process.

    With `workers` vLLM starts processes for its engine and for its workers, as it does by itself; without, the next
    model starts in seconds.
    """

    def run(jobs: list[dict[str, Any]], workers: bool = False, **environment: str) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("jobs")
        backend = {} if workers else {"distributed_executor_backend": "uni"}
        for job in jobs:
            job["options"] |= backend
        (folder / "jobs.json").write_text(
            json.dumps([{"prompts": PROMPTS, "length": GENERATED} | job for job in jobs])
        )
        script = Path(__file__).with_name("generate.py")
        done = subprocess.run(
            [sys.executable, str(script), str(folder / "jobs.json"), str(folder / "answers.json")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | ENVIRONMENT | {"VLLM_ENABLE_V1_MULTIPROCESSING": str(int(workers))} | environment,
            cwd=folder,
        )
        assert done.returncode == 0, done.stdout
        answers = json.loads((folder / "answers.json").read_text())
        return [answer | {"log": done.stdout} for answer in answers]

    return run


def load(served: Served, **options: Any) -> dict[str, Any]:
    """A job for `generate.py`: let a checkpoint generate under further options of vLLM."""
    return {"folder": str(served.folder), "options": served.options | options}
