# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Install the building step of [`heterogeneous`] when transformers' model code is loaded, and not before.

`import optimum_evoesap` must work in any order with `import transformers`, and alone load neither it nor torch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from .heterogeneous import install


_MODELING_MODULE = "transformers.modeling_utils"


def install_when_imported() -> None:
    """Install the step now if transformers' model code is loaded, otherwise as soon as it is."""
    module = sys.modules.get(_MODELING_MODULE)
    if module is not None and hasattr(module, "PreTrainedModel"):
        install()
    elif not any(isinstance(finder, _InstallAfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _InstallAfterImport())


class _InstallAfterImport(MetaPathFinder):
    def __init__(self) -> None:
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODELING_MODULE or self._searching:
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
            install()

        spec.loader.exec_module = execute_and_install  # type: ignore[method-assign]
        return spec
