"""From a request to the sequence that writes it."""

from gac.core import GenerateRequest
from gac.decoding.strategies import StrategyMaker
from gac.engine.ensemble import Ensemble
from gac.engine.metrics import Metrics
from gac.engine.sequence import Sequence
from gac.engine.speculation import Speculation, drafts_for
from gac.engine.telling import teller_for
from gac.engine.text import Sink


class Opening:
    """Makes sequences, numbered in the order in which they come."""

    def __init__(
        self,
        ensemble: Ensemble,
        make_strategy: StrategyMaker,
        metrics: Metrics,
        speculation: Speculation | None,
    ) -> None:
        self._ensemble = ensemble
        self._make_strategy = make_strategy
        self._metrics = metrics
        self._speculation = speculation
        self._last_number = 0

    def sequence(self, request: GenerateRequest, sink: Sink) -> Sequence:
        """A sequence that has not started."""
        ensemble = self._ensemble
        contexts = ensemble.contexts_for(request)
        members, tokens = tuple(contexts), ensemble.union.tokens
        make = self._make_strategy if request.strategy is None else StrategyMaker(request.strategy)
        weights = ensemble.weights if request.weights is None else request.weights
        decide = make.decider(members, weights, request.sampling, ensemble.order, tokens)
        teller = teller_for(request, decide, ensemble.union)
        self._last_number += 1
        return Sequence(
            self._last_number,
            request,
            contexts,
            ensemble.limits_for(request),
            ensemble.union,
            make(members, decide),
            sink,
            self._metrics,
            drafts_for(self._speculation, members),
            decide.needs_all_entries or teller.needs_all_entries,
            teller,
        )
