# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Processes that take the local Hub of `hub_server.py` for the Hub."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.hub_server import TOKEN, HubServer


def run(hub: HubServer, home: Path, code: str, *arguments: str, token: str | None = TOKEN, **environment: str):
    """Run `code` in a fresh process that takes `hub` for the Hub; return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=hub.environment(home, token=token) | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
