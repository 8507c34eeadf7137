# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Runs that are killed for good in one stage or another, and go on; a process of its own, which forks one for each.

    python -m tests.run.killed_runs FOLDER

Writes into FOLDER, for each kind of run, the checkpoint of an unbroken one, and for each death one of a run that died
so and was started again. `runs.json` says how each process ended and how often the model ran in it.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoModelForCausalLM

import tests.conftest  # noqa: F401  (as many threads as the tests have: they decide in which order sums are taken)
from optimum_evoesap import MoEPruner
from optimum_evoesap.run import pace
from optimum_evoesap.search import find, loop
from optimum_evoesap.search.order import Ranker
from optimum_evoesap.search.strategies import Guided
from tests.pruning import make_pruner, rows


# The guided search in the order of the criterion that scores best, the search of the paper, raced, and trained logits.
KINDS = {
    "guided": {"criterion": "auto", "allocation": "guided", "criterion_samples": 4, "sequence_length": 16},
    "evolution": {"criterion": "esap", "allocation": "evolution", "racing": True, "population_size": 10},
    "gradient": {"criterion": "esap", "allocation": "gradient_guided", "max_evaluations": 40},
}
SHARED = {"guard": False, "search_samples": 6, "holdout_fraction": 0.5, "generations": 4, "batch_size": 2}
# Steps of the guided search, by the methods that take them.
STEPS = {
    "curves": "_curves", "walk": "_walk", "order again": "_order_again", "swaps": "_swaps", "neighbours": "_neighbours"
}  # fmt: skip


@dataclass(frozen=True)
class Death:
    """Where a run is killed.

    Attributes:
        kind: A name in `KINDS`.
        stage: What it does then.
        number: How often the model has run in that stage by then, or how many files were moved while it is saved.
        keeps_all: Whether each score is kept at once, and not only the rounds that are complete.
    """

    kind: str
    stage: str
    number: int
    keeps_all: bool = True

    @property
    def name(self) -> str:
        """A name for its folder."""
        return f"{self.kind} {self.stage} {self.number}" + ("" if self.keeps_all else " rounds")


DEATHS = [
    Death("guided", "calibrate", 2),
    Death("guided", "rank", 7),
    Death("guided", "rank", 30),
    Death("guided", "rank", 61),
    Death("guided", "choose", 8),
    Death("guided", "curves", 5),
    Death("guided", "curves", 12, keeps_all=False),
    Death("guided", "walk", 3),
    Death("guided", "order again", 25),
    Death("guided", "order again", 25, keeps_all=False),
    Death("guided", "swaps", 9),
    Death("guided", "neighbours", 6),
    Death("guided", "guard", 3),
    Death("guided", "saving", 0),
    Death("guided", "saving", 2),
    Death("evolution", "rank", 30),
    Death("evolution", "search", 20),
    Death("evolution", "search", 75, keeps_all=False),
    Death("evolution", "guard", 3),
    Death("gradient", "train", 12),
    Death("gradient", "walk", 3),
]


class Stages:
    """Knows what a run does, and kills its process when it is time."""

    def __init__(self, death: Death | None):
        self.death, self.open, self.left = death, [], death.number if death else 0
        self.num_passes = 0

    @contextmanager
    def stage(self, name: str):
        self.open.append(name)
        try:
            yield
        finally:
            self.open.remove(name)

    def may_die(self, event: str) -> None:
        self.num_passes += event == "pass"
        is_saving = "saving" in self.open
        if self.death is None or self.death.stage not in self.open or is_saving != (event == "move"):
            return
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def watch(self, pruner: MoEPruner) -> None:
        pruner.model.base_model.register_forward_pre_hook(lambda *_: self.may_die("pass"))
        self._wrap(MoEPruner, "calibrate", "calibrate")
        self._wrap(MoEPruner, "rank", "rank")
        self._wrap(MoEPruner, "search", "search")
        self._wrap(MoEPruner, "_write", "saving")
        self._wrap(Ranker, "_fitness_of", "choose")
        self._wrap(loop, "_train", "train")
        self._wrap(find, "compare_with_uniform", "guard")
        for step, method in STEPS.items():
            self._wrap_steps(method, step)
        move = os.replace
        os.replace = lambda *paths: (self.may_die("move"), move(*paths))[1]

    def _wrap(self, owner, name: str, stage: str) -> None:
        function = getattr(owner, name)

        def wrapped(*given, **options):
            with self.stage(stage):
                return function(*given, **options)

        setattr(owner, name, wrapped)

    def _wrap_steps(self, name: str, stage: str) -> None:
        function = getattr(Guided, name)

        def wrapped(*given):
            with self.stage(stage):
                return (yield from function(*given))

        setattr(Guided, name, wrapped)


def run(kind: str, folder: Path, death: Death | None) -> int:
    """Start a run in a process of its own, and return how that ended."""

    def work() -> None:
        pace.MOST_OF_TIME = math.inf
        if death is not None and death.keeps_all:
            pace.SECONDS_BETWEEN = 0.0
        stages, pruner = Stages(death), make_pruner(**SHARED | KINDS[kind])
        stages.watch(pruner)
        pruner.prune(folder, rows(), rows(seed=1))
        (folder / "passes").write_text(str(stages.num_passes))

    return in_child(work)


def loads(folder: Path) -> bool:
    """Whether what is in a folder is taken for a model."""
    try:
        AutoModelForCausalLM.from_pretrained(folder)
    except (OSError, ValueError):
        return False
    return True


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    folder, ends = Path(sys.argv[1]), {}
    for kind in KINDS:
        ends[kind] = {"unbroken": run(kind, folder / kind, None)}
    for death in DEATHS:
        target = folder / death.name
        ends[death.name] = {"killed": run(death.kind, target, death)}
        ends[death.name]["left"] = sorted(str(each.relative_to(target)) for each in target.rglob("*"))
        ends[death.name]["loads"] = loads(target)
        ends[death.name]["again"] = run(death.kind, target, None)
    for name, end in ends.items():
        passes = folder / name / "passes"
        end["passes"] = int(passes.read_text()) if passes.is_file() else 0
        passes.unlink(missing_ok=True)
    (folder / "runs.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main()
