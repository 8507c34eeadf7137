# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What users read about a run: its record, model card and summary; and the inspection of a model before it."""
