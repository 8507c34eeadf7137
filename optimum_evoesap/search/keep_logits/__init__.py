# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Keep logits, one number an expert: what they are, and how they are trained through the frozen model."""
