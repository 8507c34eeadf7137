# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The experts of a layer in one piece: two grouped products with what comes before, between and after."""
