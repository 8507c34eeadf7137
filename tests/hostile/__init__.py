# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Damaged and hostile inputs of every kind that is read, and the promise that they are refused by name or right.

`tests/laws/test_hostile_inputs.py` tries some hundred of each kind, `python -m benchmarks.hostile_inputs` as many as
one has time for. A new kind is one more function in `kinds.py`.
"""
