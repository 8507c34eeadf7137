# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Runs on disks that are full, read-only or taken away: what was there stays, one line says why, and a retry goes on.

    python -m benchmarks.full_disks [--sizes 20] [--vanishing 10]

Each disk is a tmpfs in namespaces of its own, so that neither root nor a free disk is needed, and nothing is left of
it. Prints one JSON object a case, and the sum of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.checkpoint import rehearsal, write
from optimum_evoesap.run.disk_errors import DiskError


MODEL = Path(__file__).parents[1] / "examples" / "tiny_moe" / "checkpoint"
CONFIG = {
    "sparsity": 0.5,
    "criterion": "reap",
    "allocation": "evolution",
    "generations": 3,
    "population_size": 6,
    "num_elites": 2,
    "sequence_length": 16,
    "calibration_samples": 6,
    "search_samples": 4,
    "batch_size": 2,
}
ROOM = 64_000_000
IN_NAMESPACE = "EVOESAP_DISKS_IN_NAMESPACE"
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


class Counted:
    """Counts how often a model runs, and does something when it has run a number of times."""

    def __init__(self, at: int = -1, what: Callable[[], None] = lambda: None):
        self.count, self.at, self.what = 0, at, what

    def __call__(self, *_: Any) -> None:
        """A hook before a forward pass."""
        self.count += 1
        if self.count == self.at:
            self.what()


class Resumed(logging.Handler):
    """Counts the pieces of an earlier run that are gone on with, and keeps warnings."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.count, self.warnings = 0, []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a message."""
        self.count += record.getMessage().startswith("Going on with")
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())


def prune(folder: Path, hook: Counted | None = None, config: dict[str, Any] = CONFIG) -> Resumed:
    """One run."""
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    model.base_model.register_forward_pre_hook(hook or Counted())
    heard, log = Resumed(), logging.getLogger("optimum_evoesap")
    log.addHandler(heard)
    log.setLevel(logging.INFO)
    try:
        tokens = torch.randint(3, 500, (24, 16), generator=torch.Generator().manual_seed(0))
        rows = [{"input_ids": row} for row in tokens]
        MoEPruner(model, EvoESAPConfig(**config), AutoTokenizer.from_pretrained(MODEL)).prune(
            folder, rows[:12], rows[12:]
        )
    finally:
        log.removeHandler(heard)
    return heard


@contextmanager
def disk(place: Path) -> Iterator[Callable[[str], None]]:
    """A tmpfs; what is given mounts it anew with other options."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place], check=True)
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", place], check=True) and None
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def unchecked_room() -> Iterator[None]:
    """Without the comparison of the room before the work, so that disks get full in the middle of it."""
    real = write.check_free_space
    write.check_free_space = rehearsal.check_free_space = lambda *_: None  # type: ignore[assignment]
    try:
        yield
    finally:
        write.check_free_space = rehearsal.check_free_space = real


def contents(folder: Path) -> dict[str, bytes]:
    """The files that are no state of a run."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(name): (folder / name).read_bytes() for name in names if name.parts[0] != ".evoesap"}


def used(place: Path) -> int:
    """Bytes that are taken on a disk."""
    return shutil.disk_usage(place).used


def attempt(folder: Path, hook: Counted | None = None) -> dict[str, Any]:
    """One run, and what came of it."""
    hook = hook or Counted()
    before = contents(folder)
    try:
        heard = prune(folder, hook)
    except DiskError as error:
        text = str(error)
        told = str(folder) in text and "\n" not in text
        return {"ended": "told" if told else "unclear", "error": text, "passes": hook.count,
                "old_is_intact": contents(folder) == before}  # fmt: skip
    except Exception as error:
        return {"ended": "raw", "error": f"{type(error).__name__}: {error}", "passes": hook.count,
                "old_is_intact": contents(folder) == before}  # fmt: skip
    removed = sum("was removed while" in each for each in heard.warnings)
    return {"ended": "finished", "resumed": heard.count, "passes": hook.count, "said_removed": removed}


def full(
    place: Path, earlier: Path, expected: dict[str, bytes], room: int, is_checked: bool = False
) -> dict[str, Any]:
    """A disk that has room for so many bytes, beside an earlier result; then one that has enough."""
    with disk(place) as mount:
        folder = place / "out"
        shutil.copytree(earlier, folder)
        mount(f"size={used(place) + room}")
        if is_checked:
            first = attempt(folder)
        else:
            with unchecked_room():
                first = attempt(folder)
        mount(f"size={ROOM}")
        again = attempt(folder) if first["ended"] != "finished" else first
        case = "full, checked" if is_checked else "full"
        outcome = {"room": room, "first": first, "again": again, "is_equal": contents(folder) == expected}
        return {"case": case, **outcome, "left": sorted(each.name for each in folder.glob(".evoesap*"))}


def read_only(place: Path, earlier: Path, expected: dict[str, bytes]) -> dict[str, Any]:
    """A disk that cannot be written; then one that can."""
    with disk(place) as mount:
        folder = place / "out"
        shutil.copytree(earlier, folder)
        mount("ro")
        first = attempt(folder)
        mount("rw")
        again = attempt(folder)
        return {"case": "read-only", "first": first, "again": again, "is_equal": contents(folder) == expected}


def vanishing(place: Path, expected: dict[str, bytes], at: int) -> dict[str, Any]:
    """A folder that somebody removes while the run is in its so many-th forward pass."""
    with disk(place):
        folder = place / "out"
        first = attempt(folder, Counted(at, lambda: shutil.rmtree(folder)))
        return {"case": "vanishes", "at": at, "first": first, "again": first, "is_equal": contents(folder) == expected}


def filling(place: Path, earlier: Path, expected: dict[str, bytes], at: int) -> dict[str, Any]:
    """A disk that something else fills while the run is in its so many-th forward pass; then that is gone."""
    with disk(place):
        folder, other = place / "out", place / "other"
        shutil.copytree(earlier, folder)

        def fill() -> None:
            with suppress(OSError), open(other, "wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass

        first = attempt(folder, Counted(at, fill))
        other.unlink()
        again = attempt(folder) if first["ended"] != "finished" else first
        return {"case": "fills", "at": at, "first": first, "again": again, "is_equal": contents(folder) == expected}


def is_kept(case: dict[str, Any]) -> bool:
    """Whether a case is as promised."""
    first, again = case["first"], case["again"]
    told = first["ended"] == "finished" or (first["ended"] == "told" and first["old_is_intact"])
    return told and again["ended"] == "finished" and case["is_equal"] and not case.get("left")


def all_cases(sizes: int, times: int) -> Iterator[dict[str, Any]]:
    """Each case, as it is done."""
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "disk").mkdir()
        place = folder / "disk"
        prune(folder / "earlier", config=CONFIG | {"allocation": "uniform", "sparsity": 0.25})
        with disk(place):  # at the same place, which the record names nowhere
            whole = Counted()
            prune(place / "out", whole)
            expected, size = contents(place / "out"), used(place)
        yield full(place, folder / "earlier", expected, size // 2, is_checked=True)
        yield read_only(place, folder / "earlier", expected)
        # Small ones, where the state does not fit, and up to where all fits.
        rooms = [0, 4096, 8192, 16384, 32768, 65536, *(draw.randrange(size + 200_000) for _ in range(sizes))]
        # Where nothing is left but for the last, small files.
        rooms += [size - 4096 * step for step in range(0, 24, 3)]
        for room in rooms if sizes > 4 else rooms[1 : sizes + 1] + rooms[-2:]:
            yield full(place, folder / "earlier", expected, room)
        for _ in range(times):
            yield filling(place, folder / "earlier", expected, draw.randrange(1, whole.count + 1))
            yield vanishing(place, expected, draw.randrange(1, whole.count + 1))


def main() -> None:
    """Do all cases, in namespaces of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, default=20, help="Disks of random sizes.")
    parser.add_argument(
        "--vanishing", type=int, default=10, help="Disks that are filled, and folders removed, at random moments."
    )
    arguments = parser.parse_args()
    if IN_NAMESPACE not in os.environ:
        command = [*UNSHARE, sys.executable, "-m", "benchmarks.full_disks", *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env=os.environ | {IN_NAMESPACE: "1"}).returncode)
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    for case in all_cases(arguments.sizes, arguments.vanishing):
        case["is_kept"] = is_kept(case)
        print(json.dumps(case), flush=True)
        counts[f"{case['case']}: {case['first']['ended']}"] += 1
        counts["kept" if case["is_kept"] else "broken"] += 1
    print(json.dumps({"sum": counts}))


if __name__ == "__main__":
    main()
