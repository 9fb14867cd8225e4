"""The body of POST /v1/completions."""

from gac.engine.client_request import ClientRequest
from gac.engine.prompts import is_ids
from gac.engine.service import Service
from gac.server.openai.body import OpenAIBody, wrong
from gac.server.openai.prompts import Prompts, entries_of
from gac.server.openai.tolerance import ALIKE

USUAL_TOKENS = 16
"""OpenAI's own default."""


class CompletionBody(OpenAIBody):
    """Texts, and how they are to be continued; every field that is named here has an effect."""

    neutral = {**ALIKE, "suffix": ("",), "prompt_embeds": ()}

    prompt: Prompts
    echo: bool = False
    logprobs: int | None = None
    best_of: int | None = None

    @property
    def has_several(self) -> bool:
        """Whether the prompts were sent as a list of them."""
        return isinstance(self.prompt, tuple)

    def asked(self, service: Service) -> ClientRequest:
        """The texts as the engine's floor takes them.  Raises: RequestError."""
        if self.best_of not in (None, self.n):
            what = f"is supported only if it equals n, which is {self.n}"
            raise wrong("best_of", what, "unsupported_parameter")
        entries = entries_of(self.prompt)
        if self.gac.trace and (self.echo or any(map(is_ids, entries))):
            raise wrong("gac.trace", "is for prompts that are texts, without echo")
        return ClientRequest(
            messages_list=entries,
            max_new_tokens=USUAL_TOKENS if self.max_tokens is None else self.max_tokens,
            logprobs=self.logprobs,
            echo=self.echo,
            **self.shared(service),
        )
