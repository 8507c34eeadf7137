# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A sparse model: loaded, sliced virtually or really, run in batches that fit."""
