"""Where Unix sockets may lie: their paths are bounded, whatever TMPDIR says."""

import os
import tempfile

from gac.errors import PlacementError

MAX_PATH_BYTES = 107
"""Of a Unix socket's path on Linux."""
RAY_BYTES = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Of the longest path that Ray adds."""
FALLBACK = "/tmp"


def short_folder() -> str:
    """The folder for temporary files, or /tmp where its path is too long for a socket's.

    Raises: PlacementError if /tmp cannot be written to either.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) + RAY_BYTES <= MAX_PATH_BYTES:
        return folder
    if not os.access(FALLBACK, os.W_OK | os.X_OK):
        raise PlacementError(
            f"TMPDIR {folder!r} is too long for the paths of sockets (at most "
            f"{MAX_PATH_BYTES - RAY_BYTES} bytes), and {FALLBACK} cannot be written to; "
            "set TMPDIR to a shorter folder"
        )
    return FALLBACK
