"""Ensembles that run, on Ray actors with one thread each or in this process; one engine each."""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from transformers.utils import logging as transformers_logging

from benchmarks.lineups import Lineup
from benchmarks.phases import Reading, Split, record
from gac.config import Config, EngineConfig, EveryStepConfig, MemberConfig, RayConfig
from gac.config import StrategyConfig as AnyStrategy
from gac.core import ErrorEvent, GenerateRequest, Prompt, TokenEvent
from gac.decoding.strategies import StrategyMaker
from gac.engine.client_request import ClientRequest
from gac.engine.prompts import build_prompts
from gac.engine.requests import prepare
from gac.engine.service import SWITCH_INTERVAL_S
from gac.engine.startup import make_engine, start_ensemble
from gac.engine.writer import write
from gac.members.member import Member
from gac.members.placement import RayCluster


@dataclass(frozen=True)
class Written:
    """What some requests at once took: seconds, and shares of their tokens."""

    seconds: float
    num_tokens: int
    num_ensembled: int

    @property
    def ms_per_token(self) -> float:
        """Milliseconds a token of any request."""
        return self.seconds * 1000 / self.num_tokens


class Running:
    """One ensemble at work, and the strategy that its next requests follow."""

    def __init__(
        self,
        lineup: Lineup,
        cluster: RayCluster | None,
        settings: EngineConfig,
        wrap: Callable[[Member], Member] | None = None,
    ) -> None:
        self.lineup = lineup
        members = tuple(
            MemberConfig(path=str(p), name=n, num_threads=1) for n, p in lineup.paths.items()
        )
        self._config = Config(
            members=members, engine=settings, ray=RayConfig(enabled=cluster is not None)
        )
        self._started = start_ensemble(self._config, cluster, lambda name, stage, fraction: None)
        if wrap is not None:
            wrapped = {n: wrap(m) for n, m in self._started.ensemble.members.items()}
            ensemble = replace(self._started.ensemble, members=wrapped)
            self._started = replace(self._started, ensemble=ensemble)
        self.tokenizers = self._started.tokenizers
        self.ensemble = self._started.ensemble
        self._strategy: AnyStrategy = EveryStepConfig()
        self.engine = make_engine(self._started, settings, StrategyMaker(self._strategy))
        self.engine.start()

    def use(self, strategy: AnyStrategy) -> None:
        """Let the requests from now on follow this strategy."""
        self._strategy = strategy

    def prompts(self, place: int) -> dict[str, Prompt]:
        """Every member's prompt at a place of the line-up's texts."""
        return self.prompts_for(self.lineup.text(place))

    def prompts_for(self, text: str) -> dict[str, Prompt]:
        """Every member's prompt for a text."""
        messages = [{"role": "user", "content": text}]
        reference = next(iter(self.tokenizers))
        return build_prompts(self.tokenizers, messages, self.lineup.is_templated, reference)

    def requests(self, place: int, count: int, num_tokens: int) -> list[GenerateRequest]:
        """Requests of forced length on different texts, others at every place."""
        asked = ClientRequest(
            messages_list=[
                [{"role": "user", "content": self.lineup.text(1000 * place + n)}]
                for n in range(count)
            ],
            apply_chat_template=self.lineup.is_templated,
            max_new_tokens=num_tokens,
            ignore_eos=True,
            strategy=self._strategy.model_dump(),
        )
        return prepare(self._config, self._started, asked)

    def write(self, requests: Sequence[GenerateRequest]) -> Written:
        """Write them all at once."""
        started = time.perf_counter()
        ends = [text.finish for text in write(self.engine, requests)]
        seconds = time.perf_counter() - started
        num_tokens = sum(end.completion_tokens for end in ends)
        assert num_tokens == sum(request.max_new_tokens for request in requests)
        return Written(seconds, num_tokens, sum(end.ensembled_tokens for end in ends))

    def tokens(self, request: GenerateRequest) -> list[TokenEvent]:
        """The tokens of one request."""
        [text] = write(self.engine, [request])
        return list(text.tokens)

    def split(self, requests: Sequence[GenerateRequest]) -> Split:
        """Where the time of their decoding goes, all at once: from when each has begun."""
        record(self.engine)
        to_begin = {request.request_id for request in requests}
        num_tokens, first = 0, None
        for event in self.engine.stream(requests):
            if isinstance(event, ErrorEvent):
                raise event.error
            if first is not None:
                num_tokens += isinstance(event, TokenEvent)
                continue
            to_begin.discard(event.request_id)
            if not to_begin:
                first = Reading.of(self.engine)
        assert first is not None
        return Split.between(first, Reading.of(self.engine), num_tokens / len(requests))

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exc: object) -> None:
        self.engine.stop()
        for member in self.ensemble.members.values():
            member.close()


class Stage:
    """Where ensembles run: one Ray for all of them, or this process; ends what it started."""

    def __init__(self, on_ray: bool) -> None:
        self._on_ray = on_ray
        self._stack = ExitStack()
        self._is_first = True

    def __enter__(self) -> "Stage":
        self._stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_INTERVAL_S)  # as the service does
        logging.disable(logging.WARNING)
        self._stack.callback(logging.disable, logging.NOTSET)
        transformers_logging.disable_progress_bar()
        self._stack.callback(transformers_logging.enable_progress_bar)
        torch.set_num_threads(1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def start(
        self,
        lineup: Lineup,
        settings: EngineConfig | None = None,
        wrap: Callable[[Member], Member] | None = None,
    ) -> Running:
        """An ensemble with its engine, to be used as a context; `wrap` may watch its members."""
        return Running(lineup, self._new_cluster(), settings or EngineConfig(), wrap)

    def _new_cluster(self) -> RayCluster | None:
        """Each ensemble has its own sockets; the first also starts Ray, and ends it last."""
        if not self._on_ray:
            return None
        cluster = RayCluster(RayConfig())
        self._stack.callback(cluster.stop)
        if self._is_first:
            cluster.start()
            self._is_first = False
        return cluster
