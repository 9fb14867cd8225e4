"""GaC server: LLMs with different tokenizers write one answer together, token by token."""

__version__ = "0.1.0"
