# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`EvoESAPModelForCausalLM`]: load a pruned checkpoint with a class of this package."""

from __future__ import annotations

from transformers import AutoModelForCausalLM


class EvoESAPModelForCausalLM(AutoModelForCausalLM):
    """`AutoModelForCausalLM` that can also build checkpoints whose layers have different expert counts.

    After `import optimum_evoesap` plain `AutoModelForCausalLM` does the same; this class only makes the need for the
    import visible in the code that loads.

    Example:
        ```python
        >>> from optimum_evoesap import EvoESAPModelForCausalLM

        >>> model = EvoESAPModelForCausalLM.from_pretrained("olmoe-50")
        ```
    """
