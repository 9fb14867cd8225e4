"""Every error this package raises on purpose.

GacError
 |- ConfigError            the YAML (or a command-line value) is wrong
 |- TraceError             a file is no trace that can be replayed
 |- RequestError           the client's fault; names the offending field
 |   `- EngineOverloaded   too many requests wait; try again
 |- VocabularyError        a tokenizer cannot take part, and why
 |- EngineUnavailable     loading, broken or shutting down; try again later
 |- MemberError            a member could not be loaded, or failed while it ran
 |   `- MemberLost         it will not answer again
 `- PlacementError         the cluster has not what a member asks for

HTTP status and retryability are attributes, read in one place (`gac.server.errors`); the
command line reads `exit_code`.
"""

from typing import ClassVar


class GacError(Exception):
    """An error whose message is meant for a person."""

    http_status: ClassVar[int] = 500
    error_type: ClassVar[str] = "server_error"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.param, self.code))


def _rebuild(kind: type[GacError], message: str, param: str | None, code: str | None) -> GacError:
    """Keep `param` and `code` when an error crosses a process border."""
    return kind(message, param=param, code=code)


class ConfigError(GacError):
    """The configuration is wrong: names file, key, value and what is allowed."""

    exit_code = 2


class TraceError(GacError):
    """A file holds no trace, or one that cannot be run again here."""

    exit_code = 2


class RequestError(GacError):
    """The client asked for something that cannot be done; `param` names the field."""

    http_status = 400
    error_type = "invalid_request_error"


class EngineOverloaded(RequestError):
    """More requests wait than the server is configured to hold."""

    http_status = 429
    error_type = "overloaded_error"
    retryable = True


class EngineUnavailable(GacError):
    """The engine is still loading, has lost a member, or is shutting down."""

    http_status = 503
    error_type = "unavailable_error"
    retryable = True


class VocabularyError(GacError):
    """A tokenizer cannot take part in a byte-exact union."""

    exit_code = 3


class MemberError(GacError):
    """A member could not be loaded, or failed while it ran."""

    exit_code = 3


class MemberLost(MemberError):
    """A member died or hangs, and this life of it will not answer again."""


class PlacementError(GacError):
    """The cluster does not have what a member asks for."""

    exit_code = 3
