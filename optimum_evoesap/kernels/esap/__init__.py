# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP: sum_v min(p_v, q_v) at each position, from logits or from hidden states."""
