"""Right answers to the demo's held-out questions: members alone, bounds, and every method."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.quality.counting import Cost
from benchmarks.quality.estimates import Estimate, mean, paired
from benchmarks.quality.methods import SAMPLE, Method
from benchmarks.quality.panel import Outcome, Panel
from demo.evaluate import MAX_NEW_TOKENS, is_right
from demo.questions import Question

SAMPLES = 2
"""Texts that self-consistency draws beside the greedy one."""


@dataclass(frozen=True)
class Score:
    """How one way to write did: marks from 0 to 1 a question, and what it cost if it wrote."""

    name: str
    members: tuple[str, ...]
    rule: str
    marks: list[float]
    cost: Cost | None = None

    @property
    def right(self) -> Estimate:
        """The share that was right."""
        return mean(self.marks)

    @property
    def label(self) -> str:
        """The way to write, and whose text it is."""
        return f"{self.name} ({'+'.join(self.members)}, {self.rule})"

    def of_topic(self, asked: Sequence[Question], topic: str) -> list[float]:
        """The marks of one topic."""
        pairs = zip(asked, self.marks, strict=True)
        return [mark for question, mark in pairs if question.topic == topic]

    def over(self, other: "Score") -> Estimate:
        """The mean difference to another's marks on the same questions."""
        return paired(self.marks, other.marks)


def sample(asked: Sequence[Question], count: int, seed: int) -> list[Question]:
    """So many of the questions, in their order, chosen alike for everybody."""
    chosen = random.Random(seed).sample(range(len(asked)), min(count, len(asked)))
    return [asked[place] for place in sorted(chosen)]


def marks(asked: Sequence[Question], replies: Sequence[str]) -> list[float]:
    """1 for a right reply, else 0."""
    return [float(is_right(*pair)) for pair in zip(asked, replies, strict=True)]


def score_alone(panel: Panel, asked: Sequence[Question]) -> dict[str, tuple[Score, Outcome]]:
    """Every member's own greedy texts."""
    prompts = [panel.prompts(question.conversation) for question in asked]
    found = {}
    for name in panel.names:
        outcome = panel.alone(name, prompts, MAX_NEW_TOKENS)
        score = Score("alone", (name,), "own", marks(asked, outcome.texts), outcome.cost)
        found[name] = score, outcome
    return found


def best_member(scores: Sequence[Score]) -> Score:
    """The member that is right most often alone."""
    alone = [score for score in scores if score.rule == "own" and score.name == "alone"]
    return max(alone, key=lambda score: score.right.value)


def any_right(scores: Sequence[Score]) -> Score:
    """What always picking a member that is right would reach."""
    by_question = zip(*(score.marks for score in scores), strict=True)
    members = tuple(name for score in scores for name in score.members)
    return Score("any member right", members, "own", [max(given) for given in by_question])


def score_votes(
    panel: Panel, asked: Sequence[Question], name: str, greedy: Outcome, rounds: int
) -> Score:
    """Self-consistency of one member: its greedy text and two drawn ones, the majority wins.

    That is as many passes as every step among three members takes.
    """
    prompts = [panel.prompts(question.conversation) for question in asked]
    given: list[list[float]] = []
    for place in range(rounds):
        drawn = [
            panel.alone(name, prompts, MAX_NEW_TOKENS, replace(SAMPLE, seed=SAMPLES * place + n))
            for n in range(SAMPLES)
        ]
        replies = zip(greedy.texts, *(outcome.texts for outcome in drawn), strict=True)
        given.append(marks(asked, [majority(each) for each in replies]))
        cost = greedy.cost.with_work_of([outcome.cost for outcome in drawn])
    return Score(f"1 greedy + {SAMPLES} samples, vote", (name,), "own", _averaged(given), cost)


def majority(replies: Sequence[str]) -> str:
    """The first of the replies that most are alike to, in their words; the first if none are."""
    words = [tuple(re.findall(r"\w+", reply.lower())) for reply in replies]
    counts = Counter(words)
    return replies[max(range(len(words)), key=lambda place: (counts[words[place]], -place))]


def score_together(
    panel: Panel, method: Method, names: Sequence[str], asked: Sequence[Question], rounds: int
) -> Score:
    """What a method makes of some members; a sampled one is drawn once a round."""
    prompts = [panel.prompts(question.conversation) for question in asked]
    given: list[list[float]] = []
    for seed in range(rounds if method.sampled else 1):
        outcome = panel.together(method, names, prompts, MAX_NEW_TOKENS, seed)
        given.append(marks(asked, outcome.texts))
    return Score(method.name, tuple(names), panel.rule, _averaged(given), outcome.cost)


def _averaged(given: Sequence[Sequence[float]]) -> list[float]:
    return [sum(each) / len(given) for each in zip(*given, strict=True)]
