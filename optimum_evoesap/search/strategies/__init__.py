# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Strategies: what to try next, one a file."""
