"""How far each member's confidence can be trusted as a gate's, and what thresholds would cost.

Two expected calibration errors, both of a member that writes alone and greedily.  *Token*: the
confidence is the largest entry of its distribution, which is what a gate compares; it is right if
the reply, up to and with the token, begins as the right one does (END: is the right one); counted
up to the first token that is not.  *Answer*: the confidence is the product over all tokens of the
reply, the END included, which is the probability of that reply; right as in the evaluation.
Source: GaC (arXiv 2406.12585) tables 1 and 2, which have MMLU's one token for an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from benchmarks.quality.counting import confidences
from benchmarks.quality.estimates import Estimate
from benchmarks.quality.panel import Outcome
from demo.evaluate import is_right
from demo.questions import Question

NUM_BINS = 10
ALL = "all"
Judged = tuple[float, bool]
"""A confidence and whether it was right."""


@dataclass(frozen=True)
class Reading:
    """One reply: the confidence of every pick, the END included, and what was judged."""

    topic: str
    confidences: list[float]
    tokens: list[Judged]
    answer: Judged


@dataclass(frozen=True)
class Swept:
    """One gate at one threshold, on `count` questions: what its texts foretell, and what came."""

    gate: str
    threshold: float
    count: int
    foretold: float
    ensembled: float
    right: Estimate
    passes: float


@dataclass(frozen=True)
class Trust:
    """The expected calibration errors of a member by topic."""

    gate: str
    of: str
    by_topic: Mapping[str, float]


def expected_error(judged: Sequence[Judged], bins: int = NUM_BINS) -> float:
    """The ECE over bins of equal width, each closed above: mean |accuracy - confidence|.

    Source: Guo et al. 2017, eq. (3).
    """
    sums = [0.0] * bins
    for confidence, is_true in judged:
        place = next(n for n in range(bins) if n == bins - 1 or confidence <= (n + 1) / bins)
        sums[place] += is_true - confidence
    return sum(map(abs, sums)) / len(judged)


def token_rights(right: bytes, tokens: Sequence[bytes], ended: bool) -> list[bool]:
    """Whether each token goes on as the right reply does, up to the first that does not."""
    rights: list[bool] = []
    text = b""
    for token in tokens:
        text += token
        rights.append(right.startswith(text))
        if not rights[-1]:
            return rights
    return [*rights, text == right] if ended else rights


def read(asked: Sequence[Question], name: str, outcome: Outcome) -> list[Reading]:
    """A member's own replies."""
    readings = []
    for question, text, pieces, of_text in zip(
        asked, outcome.texts, outcome.pieces, outcome.asked, strict=True
    ):
        sure = confidences(of_text[name])
        rights = token_rights(question.reply.encode(), pieces, len(sure) > len(pieces))
        readings.append(
            Reading(
                question.topic,
                sure,
                list(zip(sure, rights, strict=False)),
                (prod(sure), is_right(question, text)),
            )
        )
    return readings


def share_below(readings: Sequence[Reading], threshold: float) -> float:
    """The share of picks for which such a gate would ask the others, were the text its own."""
    sure = [confidence for reading in readings for confidence in reading.confidences]
    return sum(confidence <= threshold for confidence in sure) / len(sure)


def tokens_of(readings: Sequence[Reading]) -> list[Judged]:
    """All tokens of some replies."""
    return [token for reading in readings for token in reading.tokens]


def answers_of(readings: Sequence[Reading]) -> list[Judged]:
    """All answers."""
    return [reading.answer for reading in readings]


def trusts(readings: Mapping[str, Sequence[Reading]]) -> list[Trust]:
    """The calibration errors of every member as a gate, per topic and over all."""
    found = []
    for gate, read in readings.items():
        topics = {reading.topic: [r for r in read if r.topic == reading.topic] for reading in read}
        groups = {**topics, ALL: read}
        for what, judged in (("token", tokens_of), ("answer", answers_of)):
            errors = {t: expected_error(judged(some)) for t, some in groups.items()}
            found.append(Trust(gate, what, errors))
    return found
