# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Trackers`]: follow a run in trackio, tensorboard, wandb and whatever else accelerate logs to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType, ProjectConfiguration


PROJECT = "optimum-evoesap"
# Where transformers' Trainer looks for it too, and the folder that torch writes to by itself.
_LOGGING_FOLDER = "TENSORBOARD_LOGGING_DIR", "runs"
# What `init` of a tracker calls the name of a run.
_NAMED = ("wandb", "trackio")


def find_trackers(report_to: str | Sequence[str] | None) -> tuple[str, ...]:
    """The trackers that are meant.

    Args:
        report_to: Names; `all` for all that are installed, `none` or `None` for none.

    Raises:
        ValueError: There is no such tracker, or it is not installed.
    """
    names = [report_to] if isinstance(report_to, str) else list(report_to or ())
    of_accelerate = {str(kind) for kind in LoggerType} - {"all"}
    own = set(map(str, LOGGER_TYPE_TO_CLASS)) - of_accelerate  # registered with `register_tracker_class`
    installed = {str(kind) for kind in get_available_trackers()} | own
    found: dict[str, None] = {}
    for name in names:
        if name == "all":
            found |= dict.fromkeys(sorted(installed))
        elif name in installed:
            found[name] = None
        elif name in of_accelerate:
            raise ValueError(
                f"report_to={name!r}: that tracker is not installed: pip install {name}, or leave report_to out."
            )
        elif name != "none":
            known = ", ".join(sorted(of_accelerate | own))
            raise ValueError(f"report_to={name!r}: accelerate knows no such tracker; choose among {known}.")
    return tuple(found)


class Trackers:
    """Sends values of a run to trackers. Each opens when the first values come, and none of them changes the run.

    Args:
        report_to: As in [`find_trackers`].
        name: What is pruned; the run is called by that and the time.
        options: Gives the options of the run, which become its hyperparameters.

    Raises:
        ValueError: There is no such tracker, or it is not installed.
    """

    def __init__(self, report_to: str | Sequence[str] | None, name: str, options: Callable[[], Mapping[str, Any]]):
        self._names = find_trackers(report_to)
        self._name, self._options = name, options
        self._accelerator: Accelerator | None = None
        self._step = 0

    def log(self, values: Mapping[str, Any]) -> None:
        """Send values, as one step.

        Args:
            values: Numbers and texts by name.
        """
        if self._names:
            self._open().log(dict(values), step=self._step)
            self._step += 1

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """A context that sends the seconds that a stage took.

        Args:
            stage: Its name.
        """
        start = time.monotonic()
        yield
        self.log({f"seconds/{stage}": time.monotonic() - start})

    def finish(self) -> None:
        """Close the trackers; what comes later is another run."""
        if self._accelerator is not None:
            self._accelerator.end_training()
        self._accelerator, self._step = None, 0

    def _open(self) -> Accelerator:
        if self._accelerator is None:
            run = f"{self._name}-{time.strftime('%Y%m%d-%H%M%S')}"
            variable, default = _LOGGING_FOLDER
            folder = os.path.join(os.environ.get(variable) or default, run)
            accelerator = Accelerator(
                log_with=list(self._names), project_config=ProjectConfiguration(logging_dir=folder)
            )
            options = {name: _plain(value) for name, value in self._options().items()}
            accelerator.init_trackers(PROJECT, options, {tracker: {"name": run} for tracker in _NAMED})
            self._accelerator = accelerator
        return self._accelerator


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else json.dumps(value)
