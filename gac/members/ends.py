"""The addresses of one connection between the engine and a member."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Ends:
    """On the engine's machine a `path`; elsewhere two TCP endpoints and both ends' public keys.

    The member binds, the engine connects.  Keys are Z85.
    """

    epoch: int
    path: str = ""
    down: str = ""
    up: str = ""
    engine_key: bytes = b""
    member_key: bytes = b""

    def at(self, host: str) -> "Ends":
        """The ends as TCP on free ports of an address of the member's machine."""
        endpoint = f"tcp://[{host}]:*" if ":" in host else f"tcp://{host}:*"
        return replace(self, down=endpoint, up=endpoint)
