"""The demonstration: three tiny models, the corpus they were raised on, and their examination."""
