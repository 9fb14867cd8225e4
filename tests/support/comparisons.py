"""What the equality tests compared, counted over a run."""

TIES: list[str] = []
"""A line for each tie that was met."""
COMPARED: list[int] = []
"""The lengths of all texts that were compared."""
