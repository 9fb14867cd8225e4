"""Serve: listen at once, load meanwhile, stop cleanly."""

import logging
import socket
import sys

import uvicorn

from gac.config import Config, ServerConfig, describe
from gac.engine.service import Service
from gac.errors import PlacementError
from gac.server.app import make_app

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""A reply on a socket waits this long for a busy thread to let go of the interpreter, not 5 ms."""

GRACE_S = 3
"""How long requests in flight may take to end when the server is told to stop."""


def serve(config: Config) -> int:
    """Run the server until it is told to stop, or cannot load; returns the exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    print(describe(config), flush=True)
    listener = _listen(config.server)
    _warn(config)
    service = Service(config)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(service),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )

    def give_up() -> None:
        server.should_exit = True

    host, port = listener.getsockname()[:2]
    logger.info("listening on http://%s:%d, loading %d members", host, port, len(config.members))
    service.start(on_failure=give_up)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn has shut down and only passes the signal on
    finally:
        service.stop()
    if service.error is not None:
        raise service.error
    return 0


def _listen(config: ServerConfig) -> socket.socket:
    """A listening socket, made before anything is loaded.  Raises: PlacementError if taken."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise PlacementError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror or error}"
        ) from error
    return listener


def _warn(config: Config) -> None:
    if len(config.members) == 1:
        logger.warning("only one member is configured: there is nothing to ensemble")
    if config.server.host in ("0.0.0.0", "::"):
        logger.warning(
            "LISTENING ON ALL INTERFACES (%s) WITHOUT AN API KEY: anybody who reaches this "
            "machine can use the models",
            config.server.host,
        )
