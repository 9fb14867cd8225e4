"""The body of POST /v1/chat/completions."""

from gac.engine.client_request import ClientRequest
from gac.engine.service import Service
from gac.errors import RequestError
from gac.server.openai.body import OpenAIBody
from gac.server.openai.messages import Messages
from gac.server.openai.tolerance import ALIKE, EMPTY, OFF


class ChatBody(OpenAIBody):
    """A chat, and how it is to be answered; every field that is named here has an effect."""

    neutral = {
        **ALIKE,
        "add_generation_prompt": (True,),
        "audio": (),
        "chat_template": (),
        "chat_template_kwargs": EMPTY,
        "continue_final_message": OFF,
        "documents": EMPTY,
        "echo": OFF,
        "function_call": ("none", "auto"),
        "functions": EMPTY,
        "modalities": (["text"],),
        "reasoning_effort": ("none",),
        "tool_choice": ("none", "auto"),
        "tools": EMPTY,
        "verbosity": ("medium",),
        "web_search_options": (),
    }

    messages: Messages
    max_completion_tokens: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = None

    @property
    def limit_name(self) -> str:
        """The field in which the client limits the answer."""
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    def asked(self, service: Service) -> ClientRequest:
        """The chat as the engine's floor takes it.  Raises: RequestError."""
        shared = self.shared(service)
        return ClientRequest(
            messages_list=[[message.spoken for message in self.messages]],
            apply_chat_template=True,
            max_new_tokens=self._most_tokens(service, shared["members"]),
            logprobs=self._num_told(),
            **shared,
        )

    def _most_tokens(self, service: Service, members: list[str] | None) -> int:
        """What the client says, else as much as the members' contexts and the server allow."""
        given = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(given) > 1:
            what = f"is {self.max_completion_tokens}, and max_tokens is {self.max_tokens}"
            raise RequestError(f"max_completion_tokens: {what}", param="max_completion_tokens")
        if given:
            return int(given.pop() or 0)
        ensemble = service.started.ensemble
        rooms = [ensemble.context_limit(name) for name in members or () if name in ensemble.members]
        rooms = rooms or [ensemble.context_limit(name) for name in ensemble.members]
        return min(service.config.engine.max_new_tokens_limit, *rooms)

    def _num_told(self) -> int | None:
        """How many tokens are told beside each token; None: nothing is told."""
        most = self.top_logprobs
        if not self.logprobs:
            if most:
                raise RequestError("top_logprobs: needs logprobs: true", param="top_logprobs")
            return None
        return most or 0
