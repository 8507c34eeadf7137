# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Call a function as soon as a module is imported, without importing it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def install_after_import(module_name: str, needed: str, install: Callable[[], None]) -> None:
    """Call a function now if a module is loaded, otherwise as soon as it is.

    Args:
        module_name: Full name of the module.
        needed: Name of what the function needs in it: a module that is still being loaded may not have it yet.
        install: The function; given twice for one module, it is called once.
    """
    if hasattr(sys.modules.get(module_name), needed):
        install()
    elif not any(isinstance(each, _InstallAfterImport) and each.does(module_name, install) for each in sys.meta_path):
        sys.meta_path.insert(0, _InstallAfterImport(module_name, install))


class _InstallAfterImport(MetaPathFinder):
    def __init__(self, module: str, install: Callable[[], None]) -> None:
        self.module = module
        self._install = install
        self._searching = False

    def does(self, module: str, install: Callable[[], None]) -> bool:
        return (self.module, self._install) == (module, install)

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
