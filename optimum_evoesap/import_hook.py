# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Install the steps of [`heterogeneous`] when transformers' config and model code is loaded, and not before.

`import optimum_evoesap` must work in any order with `import transformers`, and alone load neither it nor torch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from . import heterogeneous, heterogeneous_config


# What each step needs to be there, in the order in which transformers loads them.
_STEPS: dict[tuple[str, str], Callable[[], None]] = {
    ("transformers.integrations.heterogeneity.configuration_utils", "HeterogeneousConfigMixin"): (
        heterogeneous_config.install
    ),
    ("transformers.modeling_utils", "PreTrainedModel"): heterogeneous.install,
}


def install_when_imported() -> None:
    """Install each step now if what it changes is loaded, otherwise as soon as it is."""
    for (module_name, needed), install in _STEPS.items():
        if hasattr(sys.modules.get(module_name), needed):
            install()
        elif not any(isinstance(each, _InstallAfterImport) and each.module == module_name for each in sys.meta_path):
            sys.meta_path.insert(0, _InstallAfterImport(module_name, install))


class _InstallAfterImport(MetaPathFinder):
    def __init__(self, module: str, install: Callable[[], None]) -> None:
        self.module = module
        self._install = install
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.module or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_install(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self._install()

        spec.loader.exec_module = execute_and_install  # type: ignore[method-assign]
        return spec
