# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What is told of a run: the record, the card, the terminal, the look before."""
