"""What chats and completions take alike, and what it is in our words."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from gac.engine.client_request import ClientRequest
from gac.engine.service import Service
from gac.errors import RequestError
from gac.server.models import ENSEMBLE, members_of
from gac.server.openai.tolerance import Tolerant
from gac.server.schemas import EnsembleFields, LogitBias, OneOrMore


class StreamOptions(Tolerant):
    """What a stream tells beside the text."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class OpenAIBody(Tolerant):
    """The fields that both have; `asked` is what the engine is asked for."""

    model: str = ENSEMBLE
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: OneOrMore = []
    max_tokens: int | None = None
    min_tokens: int = ClientRequest.min_new_tokens
    ignore_eos: bool = ClientRequest.ignore_eos
    temperature: float = ClientRequest.temperature
    top_p: float = ClientRequest.top_p
    top_k: int = ClientRequest.top_k
    min_p: float = ClientRequest.min_p
    seed: int | None = ClientRequest.seed
    n: int = ClientRequest.n
    presence_penalty: float = ClientRequest.presence_penalty
    frequency_penalty: float = ClientRequest.frequency_penalty
    repetition_penalty: float = ClientRequest.repetition_penalty
    logit_bias: LogitBias = {}
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
        return {
            "until": tuple(self.stop),
            "min_new_tokens": self.min_tokens,
            "ignore_eos": self.ignore_eos,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": max(self.top_k, 0) if self.top_k == -1 else self.top_k,
            "min_p": self.min_p,
            "seed": self.seed,
            "n": self.n,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "repetition_penalty": self.repetition_penalty,
            "logit_bias": self.logit_bias or None,
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
