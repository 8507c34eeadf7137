# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How many experts go from each layer."""
