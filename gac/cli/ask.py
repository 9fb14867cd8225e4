"""Ask an ensemble one question in this process: no server, no Ray."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from gac.cli.answers import Display
from gac.config import Config, RequestsConfig
from gac.core import GenerateRequest
from gac.engine.client_request import ClientRequest
from gac.engine.requests import prepare
from gac.engine.service import Service
from gac.engine.writer import write
from gac.errors import ConfigError, RequestError

TRACED = 1
"""Only each member's most likely token is needed."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how it is to be answered; a strategy of None is the configuration's."""

    text: str
    strategy: str | Mapping[str, Any] | None
    max_new_tokens: int
    temperature: float
    seed: int | None
    apply_chat_template: bool


def ask(config: Config, question: Question) -> int:
    """Print each member's own answer, then the one they write together; returns the exit code.

    The configuration must have Ray disabled.
    Raises: ConfigError if an option has a value that is not allowed, MemberError if members cannot
    be loaded or fail.
    """
    # Limits on what clients may choose do not apply to the operator.
    config = config.model_copy(update={"requests": RequestsConfig()})
    names = [member.name for member in config.members]
    with _loaded(config) as service:
        together = _request(service, question)
        alone = [_request(service, question, name) for name in names] if len(names) > 1 else []
        display = Display(names)
        for name, text in zip(names, write(service.engine, alone), strict=False):
            display.own_answer(name, text.text)
        display.begin()
        with service.engine.stream([together]) as events:
            for event in events:
                display.take(event)
    return 0


@contextmanager
def _loaded(config: Config) -> Iterator[Service]:
    """A service whose members have loaded; shows a spinner meanwhile if stderr is a terminal."""
    service = Service(config)
    names = ", ".join(member.name for member in config.members)
    try:
        with Console(stderr=True).status(f"loading {names}"):
            service.start()
            service.wait()
        if service.error is not None:
            raise service.error
        yield service
    finally:
        service.stop()


def _request(service: Service, question: Question, member: str | None = None) -> GenerateRequest:
    """The question to all, by the strategy that was asked for, or to one member by itself."""
    asked = ClientRequest(
        messages_list=[[{"role": "user", "content": question.text}]],
        max_new_tokens=question.max_new_tokens,
        temperature=question.temperature,
        seed=question.seed,
        apply_chat_template=question.apply_chat_template,
        strategy=None if member else question.strategy,
        members=[member] if member else None,
        trace=0 if member else TRACED,
    )
    try:
        [request] = prepare(service.config, service.started, asked)
    except RequestError as error:
        raise ConfigError(error.message) from error
    return request
