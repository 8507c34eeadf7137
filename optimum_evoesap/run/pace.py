# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Pace`]: when finished work is kept: every few seconds, and so seldom that writing takes next to no time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


# What a kill can cost at most, where writing is not slow.
SECONDS_BETWEEN = 3.0
# Share of the time that writing may take.
MOST_OF_TIME = 0.01


class Pace:
    """Says when to write again, from how long the last time took and how long ago it was.

    Attributes:
        seconds: What all writing took so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._end = time.monotonic()
        self._took = 0.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A context for writing something."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._end = time.monotonic()
            self._took = self._end - begin
            self.seconds += self._took

    @property
    def is_affordable(self) -> bool:
        """Whether something that is complete, such as a round, may be written now."""
        return time.monotonic() - self._end >= self._took / MOST_OF_TIME

    @property
    def is_due(self) -> bool:
        """Whether it is time to write what is not complete yet."""
        return self.is_affordable and time.monotonic() - self._end >= SECONDS_BETWEEN
