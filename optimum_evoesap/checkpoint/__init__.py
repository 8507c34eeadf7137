# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From a pruned model to files, and from there to the Hub."""
