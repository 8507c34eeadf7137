# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What each expert does on the calibration data, and who goes first by it."""

from . import reconstruction  # noqa: F401  (registers its criterion)
