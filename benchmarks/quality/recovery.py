"""The snowball of the paper's section 1: one wrong word early in an answer, and what becomes of it.

A reply is made to begin as the right one does, but for its p-th word; then it is written on.  The
place is counted in words, blank in front included, since every member's tokens can end where a word
does: nobody has to start inside one of its tokens.  Next to it the same beginning with the right
word, so that the difference is what the one word does.  Only places in front of the answer itself
count: a wrong answer that has been given cannot be taken back.
Source: GaC (arXiv 2406.12585) section 1.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.quality.counting import Cost
from benchmarks.quality.estimates import Estimate, mean, paired
from benchmarks.quality.methods import Method
from benchmarks.quality.panel import Outcome, Panel, Prompts
from demo.evaluate import MAX_NEW_TOKENS, is_right
from demo.questions import Question
from gac.core import Prompt
from gac.model.templates import MemberTokenizer
from gac.vocabulary.retokenize import MemberContext, Rule


@dataclass(frozen=True)
class Forced:
    """A question whose reply is made to begin so, up to and with its p-th word."""

    question: Question
    place: int
    right: str
    wrong: str


@dataclass(frozen=True)
class Recovered:
    """How often the answer was right after the right and after the wrong word, at one place."""

    place: int
    count: int
    after_right: Estimate
    after_wrong: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Recovery:
    """One way to write, at every place."""

    name: str
    at: list[Recovered]
    cost: Cost


def words_of(reply: str) -> list[str]:
    """The words with the blanks in front of them."""
    return re.findall(r"\s*\S+", reply)


def forced(
    asked: Sequence[Question], place: int, count: int, pool: Sequence[Question]
) -> list[Forced]:
    """At most so many questions, each with another reply's word at the place (from 1).

    The wrong word stands there in a right reply to a question of the pool on the same topic.
    """
    draw = random.Random(place)
    found = []
    for question in asked:
        words = words_of(question.reply)
        right = "".join(words[:place])
        if len(words) <= place or len(right) > _answer_start(question):
            continue
        others = sorted(
            {
                words_of(other.reply)[place - 1]
                for other in pool
                if other.topic == question.topic and len(words_of(other.reply)) > place
            }
        )
        before = "".join(words[: place - 1])
        begun = [before + other for other in others if other.lower() != words[place - 1].lower()]
        begun = [wrong for wrong in begun if not is_right(question, wrong)]
        if begun:
            found.append(Forced(question, place, right, draw.choice(begun)))
    chosen = sorted(draw.sample(range(len(found)), min(count, len(found))))
    return [found[n] for n in chosen]


def _answer_start(question: Question) -> int:
    """Where the answer begins in the right reply."""
    starts = [question.reply.lower().rfind(word.lower()) for word in question.accepted]
    assert min(starts) >= 0, question
    return min(starts)


def begun(tokenizer: MemberTokenizer, rule: Rule, prompt: Prompt, reply: str) -> Prompt:
    """A prompt behind which the reply has begun: the ids that the commit rule gives its words.

    As where another member had written them; what the reply begins with, a dummy space if the
    member has one, is in the ids, so nothing leads any more.
    """
    context = MemberContext.start(tokenizer.vocabulary, rule, prompt)
    for word in words_of(reply):
        context.commit(word.encode(), owned=False)
    assert not context.abstains, reply
    return Prompt(tuple(context.ids))


class Replies:
    """All beginnings of all places, for any number of ways to write them on."""

    def __init__(self, panel: Panel, items: Sequence[Forced]) -> None:
        self._panel = panel
        self._items = items
        rights = [self._prompts(item, item.right) for item in items]
        self._prompts_of = rights + [self._prompts(item, item.wrong) for item in items]

    def _prompts(self, item: Forced, reply: str) -> Prompts:
        panel = self._panel
        asked = panel.prompts(item.question.conversation)
        return {n: begun(panel.tokenizers[n], panel.rule, asked[n], reply) for n in asked}

    def alone(self, name: str) -> Recovery:
        """One member's own replies."""
        outcome = self._panel.alone(name, self._prompts_of, MAX_NEW_TOKENS)
        return self._judged(f"{name} alone", [outcome])

    def together(self, method: Method, rounds: int) -> Recovery:
        """All members' replies by a method."""
        panel, prompts = self._panel, self._prompts_of
        seeds = range(rounds if method.sampled else 1)
        outcomes = [
            panel.together(method, panel.names, prompts, MAX_NEW_TOKENS, seed) for seed in seeds
        ]
        return self._judged(method.name, outcomes)

    def _judged(self, name: str, outcomes: Sequence[Outcome]) -> Recovery:
        given = [self._marks(outcome.texts) for outcome in outcomes]
        marks = [sum(each) / len(given) for each in zip(*given, strict=True)]
        rights, wrongs = marks[: len(self._items)], marks[len(self._items) :]
        at = []
        for place in sorted({item.place for item in self._items}):
            where = [n for n, item in enumerate(self._items) if item.place == place]
            right, wrong = [rights[n] for n in where], [wrongs[n] for n in where]
            at.append(Recovered(place, len(where), mean(right), mean(wrong), paired(wrong, right)))
        return Recovery(name, at, outcomes[0].cost)

    def _marks(self, texts: Sequence[str]) -> list[float]:
        starts = [item.right for item in self._items] + [item.wrong for item in self._items]
        return [
            float(is_right(item.question, start + text))
            for item, start, text in zip([*self._items, *self._items], starts, texts, strict=True)
        ]
