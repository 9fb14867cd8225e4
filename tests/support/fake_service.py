"""A whole server on members without weights, in this process: a service, its app, and a socket."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from gac.config import Config, parse_config
from gac.core import Extend
from gac.engine.service import Service
from gac.engine.startup import Started
from gac.model.templates import MemberTokenizer
from gac.server.app import make_app
from gac.vocabulary.prompt_encoder import PromptEncoder
from tests.support.fakes import (
    FakeEnsemble,
    HashRunner,
    fake_ensemble,
)
from tests.support.trios import DEFINITIONS as TRIO_DEFINITIONS

DEFINITIONS = {name: TRIO_DEFINITIONS[name] for name in ("ada", "bora")}
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
STRICT = (
    "{% for m in messages %}{% if m.role not in ('user', 'assistant') %}"
    "{{ raise_exception('only user and assistant may speak') }}{% endif %}"
    "{{ m.content }}\n{% endfor %}"
)
TEMPLATES: dict[str, str | None] = {"ada": PLAIN, "bora": STRICT}


def fake_config(names: Sequence[str] = tuple(DEFINITIONS), **sections: Any) -> Config:
    """A configuration of two members, or of these, that are never loaded from their paths."""
    members = [{"weight": f"fakes/{name}", "name": name} for name in names]
    data = {"CONFIG_API_SERVER": members, "ray": {"enabled": False}, **sections}
    return parse_config(data, "fake.yaml", Path())


@dataclass
class Fakes:
    """A service that has not been started, and the members behind it."""

    service: Service
    members: FakeEnsemble

    def on_extend(self, act: Any) -> None:
        """Have `act` called with each batch before any member answers it."""
        for runner in self.members.runners.values():
            _before(runner, act)

    def fail_after(self, num_batches: int) -> None:
        """Have members answer so many batches together, and fail at all that follow."""
        num_asked = 0

        def fail(batch: Sequence[Extend]) -> None:
            nonlocal num_asked
            num_asked += 1
            if num_asked > num_batches:
                raise RuntimeError("out of luck")

        self.on_extend(fail)


def _before(runner: HashRunner, act: Any) -> None:
    answer = runner.extend

    def extend(batch: Sequence[Extend]) -> Any:
        act(batch)
        return answer(batch)

    runner.extend = extend  # type: ignore[method-assign]


def fakes_for(
    config: Config | None = None,
    templates: Mapping[str, str | None] = TEMPLATES,
    definitions: Mapping[str, str] = DEFINITIONS,
    **changes: Any,
) -> Fakes:
    """A service over hash members; `changes` go to `fake_ensemble`."""
    members = fake_ensemble(definitions, **changes)
    tokenizers = {
        name: _tokenizer(members, name, definition, templates.get(name))
        for name, definition in definitions.items()
    }
    started = Started(members.ensemble, tokenizers)
    return Fakes(Service(config or fake_config(), lambda *_: started), members)


def _tokenizer(
    members: FakeEnsemble, name: str, definition: str, template: str | None
) -> MemberTokenizer:
    vocabulary = members.ensemble.vocabularies[name]
    specials = [token["content"] for token in json.loads(definition)["added_tokens"]]
    hf_tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(definition), eos_token=specials[-1]
    )
    hf_tokenizer.chat_template = template
    return MemberTokenizer(name, vocabulary, PromptEncoder(definition, vocabulary), hf_tokenizer)


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Start a service and its app, on a free port and a thread; gives the URL."""
    config = uvicorn.Config(
        make_app(service), port=0, log_config=None, access_log=False, timeout_graceful_shutdown=3
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    service.start()
    thread.start()
    try:
        assert until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        service.begin_to_stop()
        thread.join()
        service.stop()


@contextmanager
def started(fakes: Fakes) -> Iterator[Fakes]:
    """Have fakes loaded, without a server."""
    fakes.service.start()
    try:
        assert fakes.service.wait(10.0)
        yield fakes
    finally:
        fakes.service.stop()


@contextmanager
def ready(fakes: Fakes) -> Iterator[str]:
    """Serve fakes that have loaded."""
    with serving(fakes.service) as url:
        assert fakes.service.wait(10.0)
        yield url


def until(condition: Any, timeout_s: float = 10.0) -> bool:
    """Wait until a condition holds; whether it came to hold in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
