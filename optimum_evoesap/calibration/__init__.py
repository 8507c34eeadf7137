# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What each expert does on the calibration data, and who goes first by it."""

from . import leave_one_out, reconstruction  # noqa: F401  (they register their criteria)
