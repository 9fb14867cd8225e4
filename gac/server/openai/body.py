"""What chats and completions take alike, and what it is in our words."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from gac.engine.client_request import ClientRequest
from gac.engine.service import Service
from gac.errors import RequestError
from gac.server.models import ENSEMBLE, members_of
from gac.server.openai.tolerance import Tolerant
from gac.server.schemas import DecodingFields, EnsembleFields, OneOrMore


class StreamOptions(Tolerant):
    """What a stream tells beside the text."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class OpenAIBody(Tolerant, DecodingFields):
    """The fields that both have; `asked` is what the engine is asked for."""

    model: str = ENSEMBLE
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: OneOrMore = []
    max_tokens: int | None = None
    min_tokens: int = ClientRequest.min_new_tokens
    n: int = ClientRequest.n
    gac: EnsembleFields = Field(EnsembleFields(), json_schema_extra={"default": {}})

    @property
    def ignored(self) -> list[str]:
        """The fields that nobody knows."""
        return list(self.model_extra or {})

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with what it took."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def tells_usage_always(self) -> bool:
        """Whether all of a stream's chunks tell what it took so far."""
        return self.tells_usage and bool(
            self.stream_options and self.stream_options.continuous_usage_stats
        )

    def shared(self, service: Service) -> dict[str, Any]:
        """The fields of a `ClientRequest` that both have.  Raises: RequestError."""
        if self.stream_options is not None and not self.stream:
            raise wrong("stream_options", "may only be given with stream: true")
        decoding = {name: getattr(self, name) for name in DecodingFields.model_fields}
        if self.top_k == -1:  # vLLM's word for off
            decoding["top_k"] = 0
        return {
            **decoding,
            "until": tuple(self.stop),
            "min_new_tokens": self.min_tokens,
            "n": self.n,
            **self._ensemble(service),
        }

    def _ensemble(self, service: Service) -> Mapping[str, Any]:
        """Who writes, and how; a trace is of a single text."""
        members = members_of(service.config, self.model)
        own = {name: getattr(self.gac, name) for name in EnsembleFields.model_fields}
        if members is not None:
            if self.gac.members is not None:
                raise wrong("gac.members", f"contradicts the model {self.model}; give one of them")
            own["members"] = members
        if self.gac.trace and self.n > 1:
            raise wrong("gac.trace", f"is for one choice, and n is {self.n}")
        return own


def wrong(field: str, what: str, code: str | None = None) -> RequestError:
    """The error for a field that contradicts another, or asks for what there is not."""
    return RequestError(f"{field}: {what}", param=field, code=code)
