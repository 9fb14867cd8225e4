"""Members at work, whose every message is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.lineups import Lineup
from benchmarks.quality.counting import Cost, CountedMember, Ledger, OfText
from benchmarks.quality.methods import ALONE, Method, strategy_for
from benchmarks.running import Running, Stage
from gac.config import EngineConfig, StrategyConfig
from gac.core import FinishReason, GenerateRequest, Prompt, Sampling
from gac.engine.prompts import build_prompts
from gac.engine.writer import WrittenText, write
from gac.vocabulary.prompt_encoder import Message
from gac.vocabulary.retokenize import Rule

Prompts = Mapping[str, Prompt]
GREEDY = Sampling()


@dataclass(frozen=True)
class Outcome:
    """Some texts, what they took, and what the members were asked of each."""

    texts: list[str]
    pieces: list[list[bytes]]
    cost: Cost
    asked: list[OfText]


class Panel:
    """An ensemble of which any part may be asked to write some texts at once."""

    def __init__(self, running: Running, ledger: Ledger, rule: Rule) -> None:
        self.names = tuple(running.lineup.paths)
        self.paths = running.lineup.paths
        self.rule: Rule = rule
        self.tokenizers = running.tokenizers
        self._running = running
        self._ledger = ledger

    def prompts(self, conversation: Sequence[Message], templated: bool = True) -> dict[str, Prompt]:
        """Every member's prompt for a conversation."""
        return build_prompts(self.tokenizers, conversation, templated, self.names[0])

    def alone(
        self, name: str, prompts: Sequence[Prompts], tokens: int, sampling: Sampling = GREEDY
    ) -> Outcome:
        """One member's own texts."""
        return self._write(ALONE, (name,), prompts, tokens, sampling)

    def together(
        self,
        method: Method,
        names: Sequence[str],
        prompts: Sequence[Prompts],
        tokens: int,
        seed: int,
    ) -> Outcome:
        """What some members write by a method; the seed matters if it is sampled."""
        sampling = Sampling(temperature=1.0, seed=seed) if method.sampled else GREEDY
        return self._write(strategy_for(method, names), names, prompts, tokens, sampling)

    def gated(self, strategy: StrategyConfig, prompts: Sequence[Prompts], tokens: int) -> Outcome:
        """What all members write by a strategy."""
        return self._write(strategy, self.names, prompts, tokens, GREEDY)

    def _write(
        self,
        strategy: StrategyConfig,
        names: Sequence[str],
        prompts: Sequence[Prompts],
        tokens: int,
        sampling: Sampling,
    ) -> Outcome:
        self._ledger.take()
        requests = [
            GenerateRequest(
                str(place),
                {name: given[name] for name in names},
                tokens,
                sampling=replace(sampling, choice=place),
                strategy=strategy,
            )
            for place, given in enumerate(prompts)
        ]
        before = self._drafts()
        found = _outcome(write(self._running.engine, requests), self._ledger.take())
        after = self._drafts()
        found.cost.drafted, found.cost.wasted = after[0] - before[0], after[1] - before[1]
        return found

    def _drafts(self) -> tuple[int, int]:
        """Tokens drafted and wasted so far, by strategies that draft."""
        metrics = self._running.engine.metrics
        return metrics.drafted, metrics.wasted


def _outcome(texts: Sequence[WrittenText], asked: list[OfText]) -> Outcome:
    cost = Cost()
    for text, of_text in zip(texts, asked, strict=True):
        end = text.finish
        cost.tokens += end.completion_tokens
        cost.picks += end.completion_tokens + (end.reason is FinishReason.STOP)
        cost.ensembled += end.ensembled_tokens
        cost.add(of_text, end.prompt_tokens)
    pieces = [[token.token_bytes for token in text.tokens] for text in texts]
    return Outcome([text.text for text in texts], pieces, cost, asked)


class Seat:
    """Starts the members of a line-up as a panel, to be used as a context."""

    def __init__(self, stage: Stage, lineup: Lineup, rule: Rule) -> None:
        self._ledger, self._rule = Ledger(), rule
        settings = EngineConfig(retokenize=rule)
        self._running = stage.start(
            lineup, settings, lambda member: CountedMember(member, self._ledger)
        )

    def __enter__(self) -> Panel:
        return Panel(self._running.__enter__(), self._ledger, self._rule)

    def __exit__(self, *exc: object) -> None:
        self._running.__exit__(*exc)
