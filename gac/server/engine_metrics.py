"""The engine's counters as metrics, read when somebody asks for them.

From the start, with zeros while members are loading; and still after the engine has failed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import gac
from gac.engine.engine import Engine
from gac.engine.metrics import Spent
from gac.engine.service import Service

Family = type[CounterMetricFamily] | type[GaugeMetricFamily]
COUNTER, GAUGE = CounterMetricFamily, GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Read:
    """A metric without labels, and where its value is."""

    family: Family
    name: str
    what: str
    value: Callable[[Engine], float]


@dataclass(frozen=True, slots=True)
class ReadOfMember:
    """A metric by member, and where its value is."""

    family: Family
    name: str
    what: str
    value: Callable[[Engine, str], float]


def _speculation(engine: Engine, name: str) -> float:
    return getattr(engine.speculation, name, 0)  # none, where it is off


def _spent(read: Callable[[Spent], float]) -> Callable[[Engine, str], float]:
    return lambda engine, member: read(engine.metrics.members[member])


OF_ENGINE = (
    Read(GAUGE, "num_requests_running", "Texts being written", lambda e: e.num_running),
    Read(GAUGE, "num_requests_waiting", "Texts that wait for room", lambda e: e.num_waiting),
    Read(COUNTER, "generation_tokens", "Tokens written", lambda e: e.metrics.tokens),
    Read(
        COUNTER,
        "tokens_ensembled",
        "Tokens for which more than one member was asked",
        lambda e: e.metrics.ensembled,
    ),
    Read(
        COUNTER,
        "tokens_gate_only",
        "Tokens for which one member was asked",
        lambda e: e.metrics.alone,
    ),
    Read(
        COUNTER,
        "rows_completed",
        "Tokens whose rows listed too little and needed some entries more",
        lambda e: e.metrics.completed,
    ),
    Read(
        COUNTER,
        "rows_dense",
        "Tokens whose rows listed too little and needed all entries",
        lambda e: e.metrics.dense,
    ),
    Read(
        COUNTER,
        "strategy_draft_tokens",
        "Tokens that strategies such as SAFE had drafted",
        lambda e: e.metrics.drafted,
    ),
    Read(
        COUNTER,
        "strategy_dropped_tokens",
        "Of those, tokens that were dropped",
        lambda e: e.metrics.wasted,
    ),
    Read(
        COUNTER,
        "speculation_draft_tokens",
        "Tokens drafted by speculative decoding",
        lambda e: _speculation(e, "num_drafted"),
    ),
    Read(
        COUNTER,
        "speculation_accepted_tokens",
        "Of those, tokens that the ensemble picked",
        lambda e: _speculation(e, "num_accepted"),
    ),
    Read(
        COUNTER,
        "evictions",
        "Times that a text gave up its caches, to be computed again",
        lambda e: e.metrics.evictions,
    ),
)

OF_MEMBERS = (
    ReadOfMember(
        GAUGE,
        "kv_cache_usage_ratio",
        "Share of the member's K/V cache that running texts take",
        lambda e, name: e.cache_usage(name),
    ),
    ReadOfMember(
        COUNTER,
        "token_winner",
        "Tokens in which the member had the largest share",
        _spent(lambda spent: spent.won),
    ),
    ReadOfMember(
        COUNTER, "member_batches", "Batches it answered", _spent(lambda spent: spent.batches)
    ),
    ReadOfMember(
        COUNTER,
        "member_forward_seconds",
        "Time it spent in its model",
        _spent(lambda spent: spent.forward_s),
    ),
    ReadOfMember(
        COUNTER,
        "member_row_seconds",
        "Time it spent on rows and drafts",
        _spent(lambda spent: spent.row_s),
    ),
    ReadOfMember(
        COUNTER,
        "member_transport_seconds",
        "The rest of the time until its answers were taken in",
        _spent(lambda spent: spent.transport_s),
    ),
    ReadOfMember(
        COUNTER,
        "member_losses",
        "Times that it died or fell silent",
        lambda e, name: e.roster.losses[name],
    ),
    ReadOfMember(
        COUNTER,
        "member_restarts",
        "Times that it came back",
        lambda e, name: e.roster.restarts[name],
    ),
)


class EngineMetrics(Collector):
    """Reads a service's engine at each collection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._names = [member.name for member in service.config.members]

    def collect(self) -> Iterator[Metric]:
        """All metrics of the engine and its members."""
        engine = self._service.last_engine
        for one in OF_ENGINE:
            value = 0.0 if engine is None else one.value(engine)
            yield one.family(f"gac_{one.name}", one.what, value=value)
        for each in OF_MEMBERS:
            family = each.family(f"gac_{each.name}", each.what, labels=["member"])
            for name in self._names:
                family.add_metric([name], 0.0 if engine is None else each.value(engine, name))
            yield family
        yield self._steps(engine)
        yield from self._states()

    def _steps(self, engine: Engine | None) -> Metric:
        what = "Time the engine spent on tokens, by phase"
        family = CounterMetricFamily("gac_step_seconds", what, labels=["phase"])
        metrics = None if engine is None else engine.metrics
        family.add_metric(["combine"], metrics.combine_s if metrics else 0.0)
        family.add_metric(["commit"], metrics.commit_s if metrics else 0.0)
        return family

    def _states(self) -> Iterator[Metric]:
        """Whether the service and its members work, and what they are."""
        service, engine = self._service, self._service.last_engine
        up = GaugeMetricFamily(
            "gac_member_up", "Whether it has loaded and is not lost", labels=["member"]
        )
        for name in self._names:
            is_lost = engine is not None and engine.roster.is_away(name)
            up.add_metric([name], service.loading[name].stage == "ready" and not is_lost)
        yield up
        what = "Whether requests are served, as in /health/ready"
        yield GaugeMetricFamily("gac_ready", what, value=service.is_progressing)
        union = "" if engine is None else engine.ensemble.union.fingerprint
        about = {"version": gac.__version__, "union_fingerprint": union}
        about["members"] = ",".join(self._names)
        yield InfoMetricFamily("gac_build", "What runs", value=about)
