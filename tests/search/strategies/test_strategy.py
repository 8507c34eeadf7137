# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What strategies are made of."""

from __future__ import annotations

import subprocess
import sys


def test_a_strategy_needs_no_torch():
    program = (
        "import sys; import optimum_evoesap.search.strategies\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'a strategy only counts'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
