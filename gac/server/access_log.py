"""The access log: a line for each HTTP request when it has ended, if the server is to write one."""

import logging
import time

from starlette.types import Scope

from gac.server.exchange import Exchange
from gac.server.request_log import printable

logger = logging.getLogger(__name__)


def log_access(scope: Scope, exchange: Exchange) -> None:
    """The line about one exchange; without its query, which may hold anything."""
    client = scope.get("client") or ("?", 0)
    about = {
        "event": "access",
        "client": client[0],
        "method": scope["method"],
        "path": printable(scope["path"]),
        "status": exchange.final_status,
        "seconds": round(time.monotonic() - exchange.arrived_at, 6),
    }
    logger.info(
        "%(client)s %(method)s %(path)s: %(status)d after %(seconds).3f s",
        about,
        extra={"fields": about},
    )
