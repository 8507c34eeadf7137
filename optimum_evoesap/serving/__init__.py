# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What lets other runtimes serve models whose layers have different expert counts."""
