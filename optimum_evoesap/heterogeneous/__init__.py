# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Models whose layers have different expert counts: their configs, their construction, their classes."""
