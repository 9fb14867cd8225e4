"""From a request to the sequence that writes it."""

from dataclasses import replace

import numpy as np

from gac.core import GenerateRequest, Penalties
from gac.decoding.penalties import History, Penalise, tokens_read
from gac.decoding.strategies import StrategyMaker
from gac.engine.completion import Listing
from gac.engine.ensemble import Ensemble
from gac.engine.metrics import Metrics
from gac.engine.sequence import Sequence
from gac.engine.speculation import Speculation, drafts_for
from gac.engine.text import Sink
from gac.engine.token_facts import fact_finder_for
from gac.vocabulary.union import UnionVocabulary


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
        decide = replace(decide, forced=request.forced)
        if not request.penalties.is_neutral:
            decide = replace(decide, penalise=_penalise(request, ensemble.union))
        fact_finder = fact_finder_for(request, decide, ensemble.union)
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
            Listing(
                decide.needs_all_entries or fact_finder.needs_all_entries,
                _raised(request.penalties),
                decide.is_dense or fact_finder.needs_all_entries,
            ),
            fact_finder,
            None if decide.penalise is None else decide.penalise.history,
        )


def _penalise(request: GenerateRequest, union: UnionVocabulary) -> Penalise:
    """What changes the distributions of a sequence that has not begun."""
    forced, read = request.forced.tokens, []
    if request.penalties.repetition != 1.0:  # nothing else goes by prompts
        read = [union.places[name][list(one.ids)] for name, one in request.prompts.items()]
        read.append(np.array(forced, dtype=np.int32))
    return Penalise(request.penalties, tokens_read(read), History(), len(forced))


def _raised(penalties: Penalties) -> tuple[int, ...]:
    """The tokens that may win though they are far from a row's largest entries."""
    return tuple(sorted(token for token, bias in penalties.bias.items() if bias > 0.0))
