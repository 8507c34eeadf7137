# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Install what this package adds to transformers when transformers' config and model code is loaded, and not before.

`import optimum_evoesap` must work in any order with `import transformers`, and alone load neither it nor torch.
"""

from __future__ import annotations

from collections.abc import Callable

from .heterogeneous import construction, validation
from .heterogeneous.import_hook import install_after_import
from .kernels.experts import registration


# What each step needs to be there, in the order in which transformers loads them.
_STEPS: dict[tuple[str, str], Callable[[], None]] = {
    ("transformers.integrations.heterogeneity.configuration_utils", "HeterogeneousConfigMixin"): (validation.install),
    ("transformers.integrations.moe", "ALL_EXPERTS_FUNCTIONS"): registration.install,
    ("transformers.modeling_utils", "PreTrainedModel"): construction.install,
}


def install_when_imported() -> None:
    """Install each step now if what it changes is loaded, otherwise as soon as it is."""
    for (module_name, needed), install in _STEPS.items():
        install_after_import(module_name, needed, install)
