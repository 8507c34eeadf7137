# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A run in a process of its own that says what it does, and is killed at a moment of one of its stages."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import optimum_evoesap.checkpoint.write as write
import optimum_evoesap.pruner as pruner
from optimum_evoesap.search import find, loop
from optimum_evoesap.search.order import Ranker
from optimum_evoesap.search.strategies import Guided


# Each stage by the function that it is; the steps of the guided search are generators.
STAGES: dict[str, tuple[Any, str]] = {
    "load": (pruner, "load_model"),
    "data": (pruner.ModelInputs, "get"),
    "calibrate": (pruner.MoEPruner, "calibrate"),
    "rank": (pruner.MoEPruner, "rank"),
    "choose": (Ranker, "_fitness_of"),
    "train": (loop, "_train"),
    "guard": (find, "compare_with_uniform"),
    "apply": (pruner.MoEPruner, "apply"),
    "write": (pruner, "write_checkpoint"),
    "move": (write, "exchange"),
    "end": (write, "end_state"),
}
STEPS = {"curves": "_curves", "walk": "_walk", "order again": "_order_again", "swaps": "_swaps",
         "neighbours": "_neighbours"}  # fmt: skip


def mark_stages(say: Callable[[str], None]) -> None:
    """Let every stage say when it begins and ends.

    Args:
        say: Called with `+` or `-` and the name of the stage.
    """

    @contextmanager
    def stage(name: str) -> Any:
        say(f"+{name}")
        try:
            yield
        finally:
            say(f"-{name}")

    def marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            with stage(name):
                return function(*given, **named)

        return called

    def marked_steps(name: str, steps: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            with stage(name):
                return (yield from steps(*given))

        return called

    for name, (owner, function) in STAGES.items():
        setattr(owner, function, marked(name, getattr(owner, function)))
    for name, function in STEPS.items():
        setattr(Guided, function, marked_steps(name, getattr(Guided, function)))


@dataclass
class End:
    """How a process ended.

    Attributes:
        code: Its exit code, or minus the signal that killed it.
        seconds: Seconds in each stage, those of inner stages counted for these alone.
        killed_in: The stage that it was in when it was killed; empty where it was not.
    """

    code: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    killed_in: str = ""


def run_in_child(work: Callable[[], None], stage: str = "", moment: float = 0.0) -> End:
    """Do something in a process of its own.

    Args:
        work: What is done; its stages are marked.
        stage: In which stage the process is killed; none by default.
        moment: After so many seconds in that stage.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _work(work, writing)
    os.close(writing)
    end = _watch(reading, child, stage, moment)
    os.close(reading)
    end.code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if end.code != -signal.SIGKILL:
        end.killed_in = ""
    return end


def _work(work: Callable[[], None], writing: int) -> None:
    try:
        mark_stages(lambda mark: os.write(writing, f"{mark}\n".encode()))
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            work()
        os._exit(0)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os._exit(1)


def _watch(reading: int, child: int, stage: str, moment: float) -> End:
    end, stack, buffer = End(), [], b""
    since = time.perf_counter()
    while True:
        in_stage = bool(stack) and stack[-1] == stage and not end.killed_in
        left = moment - end.seconds.get(stage, 0.0) - (time.perf_counter() - since) if in_stage else None
        ready, _, _ = select.select([reading], [], [], None if left is None else max(0.0, left))
        if not ready:
            os.kill(child, signal.SIGKILL)
            end.killed_in = stage
            continue
        chunk = os.read(reading, 65536)
        if not chunk:
            return end
        *marks, buffer = (buffer + chunk).split(b"\n")
        for mark in marks:
            now, name = time.perf_counter(), mark[1:].decode()
            if stack:
                end.seconds[stack[-1]] = end.seconds.get(stack[-1], 0.0) + now - since
            since = now
            if mark[:1] == b"+":
                stack.append(name)
            elif name in stack:
                stack.remove(name)
