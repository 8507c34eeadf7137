# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fast forms of what calibration and search compute most, each next to its plain torch form."""
