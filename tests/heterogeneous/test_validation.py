# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which releases of transformers are left alone."""

from __future__ import annotations

import subprocess
import sys

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)


def test_a_transformers_of_other_internals_is_left_alone():
    """Whoever has this package installed must still be able to import any model."""
    code = (
        "from transformers.integrations.heterogeneity import configuration_utils as there\n"
        "del there._apply_heterogeneous_config\n"
        "import optimum_evoesap.heterogeneous.validation as ours\n"
        "ours.install()\n"
        "assert not hasattr(there._PerLayerConfigView, ours._MARK)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "This transformers has no _apply_heterogeneous_config" in done.stderr
