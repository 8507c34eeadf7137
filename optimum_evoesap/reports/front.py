# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Front`]: what one run found at each of several sparsities."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.short_repr import ShortRepr
from ..run.durable import write_durably
from .front_file import FRONT_NAME, point_folder, read_front, read_point
from .result import RESULT_NAME, PruningResult
from .text import change, interval, score, share, short_bytes, short_count, table


_DIGITS = 6


@dataclass(frozen=True)
class FrontPoint:
    """What was found at one sparsity.

    Attributes:
        sparsity: The sparsity that was asked for; that of `result` is the one that whole experts make of it.
        result: The record of the point, with the scores, the interval, and why the search stopped.
        checkpoint_bytes: Bytes of the tensors of its checkpoint, as it will be written.
    """

    sparsity: float
    result: PruningResult
    checkpoint_bytes: int

    @property
    def folder(self) -> str:
        """The folder of its result, inside that of the front."""
        return point_folder(self.sparsity)

    def to_json(self) -> dict[str, Any]:
        """The figures of the point as JSON values, and where its result is."""
        result = self.result
        return {
            "sparsity": self.sparsity,
            "achieved_sparsity": result.sparsity,
            "budget": result.budget,
            "allocation": result.allocation,
            "scores": result.scores,
            "interval": result.interval,
            "beats_uniform": result.beats_uniform,
            "is_guarded": result.is_guarded,
            "stopped_because": result.stopped_because,
            "parameters": result.parameters["after"],
            "checkpoint_bytes": self.checkpoint_bytes,
            "result": f"{self.folder}/{RESULT_NAME}",
        }


class Front(ShortRepr, Mapping[float, PruningResult]):
    """The results of one run at several sparsities: `front[0.5]` is a [`PruningResult`], which `apply` takes.

    Args:
        points: What was found, from the smallest sparsity to the largest.
        checkpoint_bytes: Bytes of the tensors of the checkpoint of the unpruned model.

    Attributes:
        points: What was found, with the size of each checkpoint.
        checkpoint_bytes: That of the unpruned model.
    """

    def __init__(self, points: Sequence[FrontPoint], checkpoint_bytes: int):
        self.points = list(points)
        self.checkpoint_bytes = checkpoint_bytes

    def __getitem__(self, sparsity: float) -> PruningResult:
        # A sparsity that was computed, such as 0.1 + 0.2, is not always the number that it stands for.
        found = [point.result for point in self.points if abs(point.sparsity - sparsity) < 10**-_DIGITS]
        if not found:
            raise KeyError(f"{sparsity}; the sparsities of this front are {', '.join(map(str, self))}")
        return found[0]

    def __iter__(self) -> Iterator[float]:
        return (point.sparsity for point in self.points)

    def __len__(self) -> int:
        return len(self.points)

    def table(self) -> str:
        """The front as a table in plain text: size and scores of each sparsity, on held-out data where there are."""
        fitness = self.points[0].result.fitness or "score"
        header = ["sparsity", "experts removed", "parameters", "size", "change", fitness, "uniform", "difference"]
        note = {
            "holdout_": "on held-out data, which the searches never saw",
            "": "on the search data, as none were held out",
        }[self._data]
        if any(point.result.is_guarded for point in self.points):
            note += ". *: the uniform allocation, as what was found, of which the difference is, does not beat it"
        return f"{table([self._row(point) for point in self.points], header=header)}\n\n{fitness}: {note}."

    @property
    def _data(self) -> str:
        return "holdout_" if all("holdout_best" in point.result.scores for point in self.points) else ""

    def _row(self, point: FrontPoint) -> list[str]:
        result = point.result
        scores = [result.scores.get(f"{self._data}{name}") for name in ("best", "uniform")]
        return [
            f"{point.sparsity:g}",
            f"{result.budget} of {sum(result.num_experts)} ({share(result.sparsity)})",
            short_count(result.parameters["after"]),
            short_bytes(point.checkpoint_bytes),
            change(point.checkpoint_bytes / self.checkpoint_bytes - 1),
            *("not measured" if value is None else score(value) for value in scores),
            (interval(result.interval) if result.interval else "not compared") + ("*" if result.is_guarded else ""),
        ]

    def save(self, directory: str | Path) -> Path:
        """Write `evoesap_front.json`, and the result of each point into a folder named by its sparsity.

        Points of an earlier front in the folder are removed, where nothing else lies beside them.

        Args:
            directory: The folder.

        Returns:
            The path of `evoesap_front.json`.
        """
        directory = Path(directory)
        names = {point.folder for point in self.points}
        for old in point_folders(directory):
            if old.name not in names and [path.name for path in old.iterdir()] == [RESULT_NAME]:
                (old / RESULT_NAME).unlink()
                old.rmdir()
        # It comes last, so that a kill never leaves one whose results are missing or of another run.
        path = directory / FRONT_NAME
        path.unlink(missing_ok=True)
        for point in self.points:
            (directory / point.folder).mkdir(parents=True, exist_ok=True)
            point.result.save(directory / point.folder)
        write_durably(path, (json.dumps(self._to_json(), indent=2) + "\n").encode())
        return path

    def _to_json(self) -> dict[str, Any]:
        first = self.points[0].result
        return {
            "base_model": first.base_model,
            "fitness": first.fitness,
            "parameters": first.parameters["before"],
            "checkpoint_bytes": self.checkpoint_bytes,
            "points": [point.to_json() for point in self.points],
        }

    @classmethod
    def load(cls, directory: str | Path) -> Front:
        """Read a front from the folder that it was saved in.

        Args:
            directory: The folder.

        Raises:
            FileNotFoundError: The folder holds no front, or a point is missing.
            ValueError: A file is something else, or of another run.
        """
        directory = Path(directory)
        values = read_front(directory)
        points = [
            FrontPoint(each.sparsity, read_point(directory, each), each.checkpoint_bytes) for each in values.points
        ]
        return cls(points, values.checkpoint_bytes)

    def _summary(self) -> list[tuple[str, str]]:
        result = self.points[0].result
        rows = [("base model", result.base_model or "made in memory"), ("fitness", str(result.fitness))]
        for point in self.points:
            best = point.result.scores.get(f"{self._data}best")
            rows.append((f"{point.sparsity:g}", "not measured" if best is None else score(best)))
        return rows


def point_folders(directory: str | Path) -> list[Path]:
    """The folders of the points of a front that was saved; none where there is no front.

    Args:
        directory: Where the front was saved.

    Raises:
        ValueError: What is there is no front.
    """
    directory = Path(directory)
    if not (directory / FRONT_NAME).is_file():
        return []
    folders = [directory / point_folder(point.sparsity) for point in read_front(directory).points]
    return [folder for folder in folders if folder.is_dir()]
