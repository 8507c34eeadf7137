# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Processes that share the GPUs and do one task after another."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import queue
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


HERE = Path(__file__).parent
BUNDLED = HERE.parents[1] / "examples" / "tiny_moe" / "checkpoint"
MODELS = ["bundled", *(f"{family}-{seed}" for seed in (0, 1) for family in ("olmoe", "qwen3_moe", "deepseek_v3"))]


def model_paths(folder: Path) -> dict[str, Path]:
    """The models that there are: the bundled one, and those which the training has put into a folder."""
    paths = {name: BUNDLED if name == "bundled" else folder / f"{name}.safetensors" for name in MODELS}
    return {name: path for name, path in paths.items() if path.exists()}


def _work(gpu: str, function: str, tasks: Any, results: Any) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    module, _, name = function.rpartition(".")
    do = getattr(importlib.import_module(module), name)
    while (task := tasks.get()) is not None:
        try:
            results.put((task, do(*task)))
        except Exception:
            # Told with its task; the others go on.
            results.put((task, traceback.format_exc()))


def do_all(
    function: str, tasks: Sequence[tuple[Any, ...]], processes: int, gpus: int, deadline: float
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Do all tasks; what fails is printed, what is not done by the deadline is left.

    Args:
        function: Its name with that of its module.
        tasks: Its arguments, one tuple a call.
        processes: That share the GPUs.
        gpus: Number of them; 0 for the CPU.
        deadline: Seconds since the epoch.

    Yields:
        A task and what the function gave for it.
    """
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    context = multiprocessing.get_context("spawn")
    todo, results = context.Queue(), context.Queue()
    for task in [*tasks, *[None] * processes]:
        todo.put(task)
    workers = []
    for number in range(processes):
        arguments = (str(number % gpus) if gpus else "", function, todo, results)
        workers.append(context.Process(target=_work, args=arguments, daemon=True))
        workers[-1].start()
    try:
        for _ in tasks:
            task, result = results.get(timeout=max(0.1, deadline - time.time()))
            if isinstance(result, str):
                print(f"FAILED {task}\n{result}", flush=True)
            else:
                yield task, result
    except queue.Empty:
        print("The time is over.", flush=True)
    finally:
        for worker in workers:
            worker.kill()
        # Otherwise the end of this process waits until somebody has taken all tasks that are left.
        todo.cancel_join_thread()
