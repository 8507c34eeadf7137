# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The rest of the forward pass: norms, rotary embeddings, attention within packed documents."""
