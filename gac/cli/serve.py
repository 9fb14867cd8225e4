"""Serve an ensemble: listen at once, load the members in the background, stop cleanly."""

import asyncio
import json
import logging
import signal
import socket
import time

import uvicorn

from gac.config import Config, ServerConfig, describe_changes
from gac.engine.service import Service
from gac.engine.startup import Started
from gac.errors import PlacementError
from gac.server.app import make_app

logger = logging.getLogger(__name__)

GRACE_S = 3
"""How long running requests may go on after the server is told to stop."""

STOP_S = 9.0
"""Time limit for the whole shutdown, from the signal on."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """A uvicorn server that gives running requests some time to end when it is told to stop."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            uvicorn.Config(
                make_app(service),
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=GRACE_S + 1,
            )
        )
        self._service = service
        self._stopping_at: float | None = None

    @property
    def time_left_s(self) -> float:
        """How long the rest of the shutdown may take."""
        spent_s = time.monotonic() - self._stopping_at if self._stopping_at else 0.0
        return max(1.0, STOP_S - spent_s)

    def obey_signals(self) -> None:
        """Have SIGINT and SIGTERM stop this server, in place of any other handler."""
        for stop in STOP_SIGNALS:
            signal.signal(stop, self.handle_exit)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; takes SIGTERM back from Ray, which sets its own handler."""
        self.obey_signals()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening; requests that do not end in time are aborted with an error."""
        self._stopping_at = time.monotonic()
        loop = asyncio.get_running_loop()
        abort = loop.call_later(GRACE_S, loop.run_in_executor, None, self._service.begin_to_stop)
        await super().shutdown(sockets)
        abort.cancel()


def serve(config: Config) -> int:
    """Run the server until it is told to stop, or cannot load; returns the exit code."""
    print(describe_changes(config), flush=True)
    listener = listen(config.server)
    _warn(config)
    service = Service(config)
    server = Server(service)
    server.obey_signals()  # uvicorn restores this handler, and raises the signal again
    url = _url(listener)
    logger.info("listening on %s, loading %d members", url, len(config.members))

    def on_loaded() -> None:
        if service.error is None:
            logger.info("ready: %s\n%s", url, example_command(url, service.started))
        else:
            server.should_exit = True

    service.start(on_loaded)
    try:
        server.run(sockets=[listener])
    finally:
        service.stop(server.time_left_s)
    if service.error is not None:
        raise service.error
    return 0


def listen(config: ServerConfig) -> socket.socket:
    """A listening socket, made before anything is loaded.  Raises: PlacementError if taken."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(128)  # until here another server with SO_REUSEADDR could take the port
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise PlacementError(f"cannot listen on {config.host}:{config.port}: {reason}") from error
    return listener


def example_command(url: str, started: Started) -> str:
    """A command to paste that asks this server something."""
    has_templates = all(tokenizer.has_template for tokenizer in started.tokenizers.values())
    body = {
        "messages_list": [[{"role": "user", "content": "What is the capital of Norway?"}]],
        "apply_chat_template": has_templates,
    }
    header = "'Content-Type: application/json'"
    return f"curl -s {url}/api/generate -H {header} -d '{json.dumps(body)}'"


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _warn(config: Config) -> None:
    if len(config.members) == 1:
        logger.warning("only one member is configured: there is nothing to ensemble")
    if config.server.host in ("0.0.0.0", "::"):
        logger.warning(
            "LISTENING ON ALL INTERFACES (%s) WITHOUT AUTHENTICATION: anybody who reaches this "
            "machine can use the models",
            config.server.host,
        )
