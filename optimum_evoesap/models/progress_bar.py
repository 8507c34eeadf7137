# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ProgressBar`]: one bar a stage, which the usual switches silence."""

from __future__ import annotations

import logging
import os
import time
from types import TracebackType
from typing import Any

from huggingface_hub.utils import are_progress_bars_disabled
from tqdm.auto import tqdm
from transformers.utils import logging as transformers_logging


_OFF = ("", "0", "false", "no", "off")


def are_bars_wanted() -> bool:
    """Whether bars are shown.

    They are not where `TQDM_DISABLE` or `HF_HUB_DISABLE_PROGRESS_BARS` is set, after `disable_progress_bar()` of
    transformers or huggingface_hub, and where transformers' verbosity or the level of this package's logger says that
    errors alone are of interest, as transformers' own Trainer does.
    """
    if os.environ.get("TQDM_DISABLE", "").lower() not in _OFF:
        return False
    if are_progress_bars_disabled() or not transformers_logging.is_progress_bar_enabled():
        return False
    level = max(transformers_logging.get_verbosity(), logging.getLogger(__package__).getEffectiveLevel())
    return level <= logging.WARNING


class ProgressBar:
    """Shows what a stage does, how far it is, and how long it still takes.

    Args:
        stage: What is done.
        total: About how much there is to do; it grows where it was too little.
        unit: What is counted.
        wanted: Show it; otherwise, and where the user has silenced bars, nothing is shown.
        most_seconds: When the stage ends in any case; `None` for no such limit.
    """

    def __init__(self, stage: str, total: int, unit: str, wanted: bool = True, most_seconds: float | None = None):
        is_shown = wanted and are_bars_wanted()
        # Time left by the mean speed so far: rounds of a search are of unequal kinds. Each step is worth showing.
        self._bar = tqdm(total=total, desc=stage, unit=unit, smoothing=0, miniters=1, disable=not is_shown)
        self._done = self._skipped = 0
        self._expected, self._most_seconds = total, most_seconds
        self._start = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            # A stage that is over is whole, also where less was to do than it seemed.
            self._set_total(self._done)
        self._bar.close()

    @property
    def done(self) -> int:
        """What is done so far."""
        return self._done

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._start

    def advance(self, count: int) -> None:
        """Some more is done.

        Args:
            count: How much; negative where it is to be done again.
        """
        self._done += count
        self._set_total(self._reachable())
        self._bar.update(count)

    def skip(self, count: int) -> None:
        """Some more was done by an earlier run, which says nothing about how fast this one is.

        Args:
            count: How much.
        """
        self._skipped += count
        self._bar.initial = self._skipped
        self.advance(count)

    def expect_more(self, count: int) -> None:
        """So much is still to be done, at least.

        Args:
            count: How much.
        """
        self._expected = max(self._expected, self._done + count)
        self._set_total(self._reachable())

    def show(self, **values: Any) -> None:
        """Show values beside the bar, with four digits.

        Args:
            **values: By name.
        """
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()}, refresh=False)

    def _reachable(self) -> int:
        """What is expected, or as much of it as is done by the limit at the speed so far."""
        total = max(self._expected, self._done)
        fresh, seconds = self._done - self._skipped, self.seconds
        if self._most_seconds is None or not fresh or not seconds:
            return total
        return min(total, max(self._done, self._skipped + round(fresh / seconds * self._most_seconds)))

    def _set_total(self, total: int) -> None:
        if total != self._bar.total:
            self._bar.total = total
            self._bar.refresh()
