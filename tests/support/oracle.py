"""The reference on real models, and what counts as a difference from it.

Two texts differ unless, where they first do, the two tokens' combined scores lie within `TIE`: then
rounding decided.  Such ties are counted and printed at the end of the run.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from unittest.mock import patch

from gac.config import StrategyConfig, ThresholdConfig
from gac.core import FinishReason, GenerateRequest, Sampling
from gac.engine.ensemble import Ensemble
from tests.support import reference
from tests.support.collect import Written
from tests.support.comparisons import COMPARED, TIES
from tests.support.real_members import RealModel

TIE = 1e-4
_MASK = (1 << 64) - 1
END = reference.END


class _Reached(Exception):
    """The combined distribution at the position that was asked for."""

    def __init__(self, combined: Mapping[bytes, float]) -> None:
        super().__init__()
        self.combined = combined


class Oracle:
    """The reference for one ensemble and strategy, on the models by themselves."""

    def __init__(
        self, ensemble: Ensemble, models: Mapping[str, RealModel], strategy: StrategyConfig
    ) -> None:
        self._ensemble = ensemble
        self._models = models
        self._strategy = strategy

    def tokens(self, request: GenerateRequest) -> list[bytes]:
        """What the reference writes; END, where it ends so, is the last token."""
        names, strategy = list(request.prompts), self._strategy
        gated = isinstance(strategy, ThresholdConfig) and strategy.gate in names and len(names) > 1
        tokens, ended = reference.generate(
            {name: self.member(name, request) for name in names},
            {name: self._ensemble.weights[name] for name in names},
            max_new_tokens=request.max_new_tokens,
            rule=self._ensemble.rule,
            gate=strategy.gate if gated else None,
            threshold=strategy.threshold if gated else 1.0,
            below=strategy.below if gated else "ensemble",
            sampling=request.sampling,
            noise=lambda position, token: noise_of(request.sampling, position, token),
            min_new_tokens=request.max_new_tokens if request.ignore_eos else request.min_new_tokens,
        )
        return [*tokens, END] if ended else tokens

    def member(self, name: str, request: GenerateRequest) -> reference.Member:
        prompt = request.prompts[name]
        vocabulary = self._ensemble.vocabularies[name]
        model = self._models[name].probabilities
        return reference.Member(model, vocabulary, prompt.ids, prompt.lead)

    def scores(self, request: GenerateRequest, prefix: Sequence[bytes]) -> dict[bytes, float]:
        """What tokens are ranked by after these: probabilities, or log-probabilities with noise."""

        def forced(combined, sampling, noise, position):  # type: ignore[no-untyped-def]
            if position < len(prefix):
                return prefix[position]
            raise _Reached(combined)

        combined: Mapping[bytes, float] = {}
        with patch.object(reference, "_pick", forced):
            try:
                self.tokens(request)
            except _Reached as reached:
                combined = reached.combined
        sampling = request.sampling
        if sampling.temperature == 0.0:
            return dict(combined)
        return {
            token: math.log(p) / sampling.temperature + noise_of(sampling, len(prefix), token)
            for token, p in combined.items()
            if p > 0.0
        }

    def require_same(
        self, request: GenerateRequest, got: Sequence[bytes], expected: Sequence[bytes]
    ) -> bool:
        """Whether two texts of a request are the same; raises unless they are, or a tie parts them.

        A tie says nothing of what follows it.
        """
        COMPARED.append(len(expected))
        if list(got) == list(expected):
            return True
        same = 0
        while same < min(len(got), len(expected)) and got[same] == expected[same]:
            same += 1
        where = f"{request.request_id}: at token {same}"
        assert same < min(len(got), len(expected)), f"{where}: one ends, {got} {expected}"
        scores = self.scores(request, expected[:same])
        ours, theirs = scores.get(got[same], -math.inf), scores.get(expected[same], -math.inf)
        where += f" {got[same]!r} has {ours:.7f}, {expected[same]!r} has {theirs:.7f}"
        assert abs(ours - theirs) <= TIE, where
        TIES.append(where)
        return False


def noise_of(sampling: Sampling, position: int, token: bytes) -> float:
    """Gumbel noise, written anew: seed, choice and position go through SplitMix64 one by one."""
    digest = hashlib.blake2b(token, digest_size=8).digest()
    bits = _mixed(int.from_bytes(digest, "little") ^ noise_key(sampling, position))
    uniform = min(((bits >> 11) + 0.5) * 2.0**-53, math.nextafter(1.0, 0.0))
    return -math.log(-math.log(uniform))


def noise_key(sampling: Sampling, position: int) -> int:
    """What the hashes of tokens are combined with."""
    key = 0
    for value in (sampling.seed, sampling.choice, position):
        key = _mixed(((key ^ value) + 0x9E3779B97F4A7C15) & _MASK)
    return key


def _mixed(bits: int) -> int:
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & _MASK
    return bits ^ (bits >> 31)


def tokens_of(written: Written) -> list[bytes]:
    """The tokens of a text that no stop string ended; END, where it ended so, is the last."""
    ended = written.finish.reason is FinishReason.STOP
    return [*written.token_bytes, END] if ended else written.token_bytes


def check_text(written: Written) -> None:
    """The pieces that were streamed are the text of the bytes that were committed.

    A U+FFFD stands there only for bytes that are no character.
    """
    assert written.text == b"".join(written.token_bytes).decode(errors="replace")
