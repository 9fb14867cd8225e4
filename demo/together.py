"""Ensembles of the demo members as answerers, in this process, without a server."""

from __future__ import annotations

from demo.corpus import Conversation
from demo.members import MEMBERS
from gac.config import Config, MemberConfig, RayConfig, StrategyConfig
from gac.engine.client_request import ClientRequest
from gac.engine.requests import prepare
from gac.engine.service import Service
from gac.engine.writer import write


class Together:
    """Some members writing each reply together, greedily."""

    def __init__(self, names: list[str], strategy: StrategyConfig, max_new_tokens: int) -> None:
        members = tuple(MemberConfig(path=str(MEMBERS[name].folder), name=name) for name in names)
        self._max_new_tokens = max_new_tokens
        self._service = Service(
            Config(members=members, strategy=strategy, ray=RayConfig(enabled=False))
        )
        self._service.start()
        self._service.wait()
        if self._service.error is not None:
            raise self._service.error
        self.ensembled_share = 0.0

    def __call__(self, conversations: list[Conversation]) -> list[str]:
        """The replies; `ensembled_share` then says how many tokens several members decided."""
        asked = ClientRequest(
            messages_list=conversations,
            apply_chat_template=True,
            max_new_tokens=self._max_new_tokens,
        )
        requests = prepare(self._service.config, self._service.started, asked)
        texts = write(self._service.engine, requests)
        ensembled = sum(text.finish.ensembled_tokens for text in texts)
        written = sum(text.finish.completion_tokens for text in texts)
        self.ensembled_share = ensembled / max(written, 1)
        return [text.text.strip() for text in texts]

    def close(self) -> None:
        """Let go of the members."""
        self._service.stop()
