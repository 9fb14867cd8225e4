"""What is told of a token beside the token itself."""

from collections.abc import Iterable
from dataclasses import dataclass

from gac.core import GenerateRequest, Likelihood, Pick
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit
from gac.engine.likelihood import Likelihoods
from gac.engine.tracing import Tracer
from gac.trace import TokenTrace
from gac.vocabulary.union import UnionVocabulary


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """Of one token, or of END: which members were asked, and what the request wants to know."""

    asked: tuple[str, ...] = ()
    trace: TokenTrace | None = None
    likelihood: Likelihood | None = None


@dataclass(frozen=True, slots=True)
class FactFinder:
    """Tells of one sequence's tokens what its request wants to know."""

    tracer: Tracer | None = None
    likelihoods: Likelihoods | None = None
    num_forced: int = 0
    """So many tokens at the beginning are given, and have no trace."""

    @property
    def needs_all_entries(self) -> bool:
        """Whether it always takes all entries, so that they are asked for at once."""
        return self.likelihoods is not None and self.likelihoods.needs_all_entries

    def facts(self, commit: Commit, pick: Pick, asked: Iterable[str]) -> TokenFacts | None:
        """What is told of the pick; None where more entries are needed."""
        likelihood = None
        if self.likelihoods is not None:
            likelihood = self.likelihoods.of(commit, pick)
            if likelihood is None:
                return None
        traced = self.tracer is not None and pick.position >= self.num_forced
        trace = self.tracer.trace(commit, pick) if self.tracer and traced else None
        return TokenFacts(tuple(sorted(asked)), trace, likelihood)


def fact_finder_for(
    request: GenerateRequest, decide: Decider, union: UnionVocabulary
) -> FactFinder:
    """What tells of the tokens of a request that `decide` picks."""
    tracer = Tracer(request.trace, decide, union.tokens) if request.trace else None
    if request.logprobs is None:
        return FactFinder(tracer, None, request.num_forced)
    likelihoods = Likelihoods(request.logprobs, decide, union.tokens)
    return FactFinder(tracer, likelihoods, request.num_forced)
