# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fast forms of what the search computes most. Each has a plain torch form under the same name, picked by `impl`."""

from .esap import esap_rows, overlap
from .linear_esap import linear_esap_rows


__all__ = ["esap_rows", "linear_esap_rows", "overlap"]
