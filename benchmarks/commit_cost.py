"""What it costs to commit a token to a long text: re-tokenising, text, events; no model.

Drives a sequence of the engine with real tokenizers and a script in place of a strategy.
"""

import random
import time
from collections.abc import Mapping, Sequence

from benchmarks.lineups import HEROES, Lineup
from demo.topics.stories import story_about
from gac.core import Event, GenerateRequest, Pick, Prompt
from gac.decoding.flow import Commit, Query, Strategy
from gac.engine.metrics import Metrics
from gac.engine.sequence import Sequence as Written
from gac.engine.startup import unite
from gac.model.templates import MemberTokenizer, load_member_tokenizer
from gac.vocabulary.retokenize import MemberContext
from gac.vocabulary.union import UnionVocabulary


class CommitCost:
    """Texts that grow by one member's tokens, which every other member re-tokenises."""

    def __init__(self, lineup: Lineup) -> None:
        self._tokenizers: Mapping[str, MemberTokenizer] = {
            name: load_member_tokenizer(name, str(path)) for name, path in lineup.paths.items()
        }
        self._union: UnionVocabulary = unite(self._tokenizers)
        self._owner = lineup.gate

    def measure(self, length: int, steps: int, place: int) -> float:
        """Milliseconds a committed token, over so many of them, from `length` tokens on."""
        sequence = self._sequence(self._picks(length + steps, random.Random(place)))
        sequence.start()
        for _ in range(length):
            sequence.go_on()
        started = time.perf_counter()
        for _ in range(steps):
            sequence.go_on()
        return (time.perf_counter() - started) * 1000 / steps

    def _picks(self, count: int, draw: random.Random) -> list[Pick]:
        """Tokens that the owner's tokenizer makes of made-up stories."""
        vocabulary = self._tokenizers[self._owner].vocabulary
        ids: list[int] = []
        while len(ids) < count:
            story = " " + story_about(draw.choice(HEROES), draw)
            ids += vocabulary.encoder.encode(story.encode())
        tokens = (self._union.index[vocabulary.token_bytes[i]] for i in ids[:count])
        return [Pick(place, token, (self._owner,)) for place, token in enumerate(tokens)]

    def _sequence(self, picks: Sequence[Pick]) -> Written:
        prompts = {
            name: Prompt(tuple(tokenizer.vocabulary.encoder.encode(b"A story.")))
            for name, tokenizer in self._tokenizers.items()
        }
        contexts = {
            name: MemberContext.start(self._tokenizers[name].vocabulary, "canonical", prompt)
            for name, prompt in prompts.items()
        }
        limits = dict.fromkeys(prompts, 10**6)
        request = GenerateRequest("0", prompts, max_new_tokens=10**6)
        metrics = Metrics.of(prompts)
        return Written(
            0, request, contexts, limits, self._union, _script(picks), _Nowhere(), metrics
        )


class _Nowhere:
    """A sink that drops all events."""

    def put(self, event: Event) -> None:
        """Drop it."""

    def is_full(self) -> bool:
        """Never."""
        return False


def _script(picks: Sequence[Pick]) -> Strategy:
    """Commits what is written down; asks nobody."""
    for pick in picks:
        yield Query(())
        yield Commit((), lambda _, pick=pick: pick)
    yield Query(())
