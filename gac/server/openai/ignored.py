"""Fields that were ignored: named to the client in a header, and once each in the log."""

import logging
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

HEADER = "X-GaC-Ignored"
MOST_NAMED = 16
LONGEST_NAME = 64
MOST_REMEMBERED = 1000


def ignored_header(fields: Sequence[str]) -> Mapping[str, str]:
    """Names the fields that were ignored, as many as fit."""
    if not fields:
        return {}
    shown = ", ".join(map(_shown, fields[:MOST_NAMED]))
    more = f" and {len(fields) - MOST_NAMED} more" if len(fields) > MOST_NAMED else ""
    return {HEADER: shown + more}


class IgnoredLog:
    """Logs each name the first time that it comes; of no more than a thousand."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def note(self, path: str, fields: Sequence[str]) -> None:
        """These fields of a request to this path were ignored."""
        for name in map(_shown, fields[:MOST_NAMED]):
            if name not in self._seen and len(self._seen) < MOST_REMEMBERED:
                self._seen.add(name)
                logger.info("%s: the unknown field %s is ignored", path, name)


def _shown(name: str) -> str:
    """A name as it may stand in a header, whose value has no space at its ends."""
    text = name[:LONGEST_NAME].encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() and c != "," else "?" for c in text).strip() or '""'
