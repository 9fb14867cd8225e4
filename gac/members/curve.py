"""Authentication over TCP: keys of both ends, and an authenticator that accepts one client.

CURVE encrypts and proves the server to its clients, but lets in whoever knows the server's public
key; about clients the context's ZAP handler decides.  Source: ZeroMQ RFC 26 (CurveZMQ), 27 (ZAP).
"""

import threading
from dataclasses import dataclass, field
from typing import Any

import zmq
from zmq.utils import z85

ZAP_ENDPOINT = "inproc://zeromq.zap.01"


@dataclass(frozen=True, slots=True)
class Keys:
    """A fresh pair, Z85; the secret one never leaves its process."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls) -> "Keys":
        """A new pair."""
        return cls(*zmq.curve_keypair())


def guard_server(context: Any, sockets: list[Any], keys: Keys, client_key: bytes) -> None:
    """Have sockets, not bound yet, refuse every client but the one that holds `client_key`."""
    door = context.socket(zmq.REP)
    door.bind(ZAP_ENDPOINT)
    admitted = z85.decode(client_key)
    threading.Thread(target=_keep_door, args=(door, admitted), name="door", daemon=True).start()
    for each in sockets:
        each.curve_server = True
        each.curve_publickey, each.curve_secretkey = keys.public, keys.secret


def prove_client(sockets: list[Any], keys: Keys, server_key: bytes) -> None:
    """Have sockets, not connected yet, talk to the holder of `server_key` and to nobody else."""
    for each in sockets:
        each.curve_serverkey = server_key
        each.curve_publickey, each.curve_secretkey = keys.public, keys.secret


def _keep_door(door: Any, admitted: bytes) -> None:
    """Answer the library's questions about clients until the context ends."""
    try:
        while True:
            version, request, _, _, _, mechanism, *credentials = door.recv_multipart()
            is_known = mechanism == b"CURVE" and credentials == [admitted]
            status = [b"200", b"OK"] if is_known else [b"400", b"unknown key"]
            door.send_multipart([version, request, *status, b"", b""])
    except zmq.ContextTerminated:
        door.close(linger=0)
