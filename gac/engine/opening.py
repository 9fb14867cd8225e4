"""From a request to the sequence that writes it."""

from collections.abc import Callable

from gac.core import GenerateRequest
from gac.decoding.decide import Decider
from gac.decoding.flow import Decide, Strategy
from gac.engine.ensemble import Ensemble
from gac.engine.metrics import Metrics
from gac.engine.sequence import Sequence
from gac.engine.speculation import Speculation, drafts_for
from gac.engine.text import Emit

MakeStrategy = Callable[[tuple[str, ...], Decide], Strategy]
"""From the members that take part and a way to decide to the strategy of one sequence."""


class Opening:
    """Makes sequences, numbered in the order in which they come."""

    def __init__(
        self,
        ensemble: Ensemble,
        make_strategy: MakeStrategy,
        metrics: Metrics,
        speculation: Speculation | None,
    ) -> None:
        self._ensemble = ensemble
        self._make_strategy = make_strategy
        self._metrics = metrics
        self._speculation = speculation
        self._last_number = 0

    def sequence(self, request: GenerateRequest, emit: Emit) -> Sequence:
        """A sequence that has not started."""
        ensemble = self._ensemble
        contexts = ensemble.contexts_for(request)
        decide = Decider(ensemble.weights, request.sampling, ensemble.order)
        self._last_number += 1
        return Sequence(
            self._last_number,
            request,
            contexts,
            ensemble.limits_for(request),
            ensemble.union.tokens,
            self._make_strategy(tuple(contexts), decide),
            emit,
            self._metrics,
            drafts_for(self._speculation, tuple(contexts)),
        )
