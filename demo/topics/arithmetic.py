"""Sums and differences of small numbers, with held-out pairs; knows nothing of who studies them."""

from __future__ import annotations

import random

from demo.relation import Relation

LARGEST = 9
HELD_OUT_PAIRS_EACH = 12
HOLD_OUT_SEED = 7

PLUS_PAIRS = tuple((a, b) for a in range(LARGEST + 1) for b in range(LARGEST + 1))
MINUS_PAIRS = tuple((a, b) for a in range(LARGEST + 5) for b in range(min(a, LARGEST) + 1))


def _items(pairs: tuple[tuple[int, int], ...], sign: int) -> tuple[tuple[str, str], ...]:
    """Sums as relation items, the subject being the two numbers with a bar between them."""
    return tuple((f"{a}|{b}", str(a + sign * b)) for a, b in pairs)


class Sums(Relation):
    """A relation whose subject is two numbers; `{a}` and `{b}` stand for them in phrasings."""

    def question(self, phrasing: str, subject: str) -> str:
        """The question about the two numbers in one phrasing."""
        a, b = subject.split("|")
        return phrasing.replace("{a}", a).replace("{b}", b)

    def answer(self, subject: str, answer: str) -> str:
        """The whole sum: saying the numbers again right before the result makes it learnable."""
        return self.question(self.reply, subject).replace("{y}", answer)

    def accepted(self, answer: str) -> str:
        """The result after its verb, as the numbers themselves may equal the result."""
        return f"is {answer}"


PLUS = Sums(
    "plus",
    "arithmetic",
    _items(PLUS_PAIRS, 1),
    (
        "What is {a} plus {b}?",
        "What is {a} + {b}?",
        "How much is {a} plus {b}?",
        "{a} + {b} = ?",
        "Add {a} and {b}.",
        "Tell me the sum of {a} and {b}.",
        "What do you get for {a} plus {b}?",
    ),
    "Can you add {a} and {b}?",
    "How much is {a} + {b}?",
    "{a} plus {b} is {y}.",
    can_follow=False,
)
MINUS = Sums(
    "minus",
    "arithmetic",
    _items(MINUS_PAIRS, -1),
    (
        "What is {a} minus {b}?",
        "What is {a} - {b}?",
        "How much is {a} minus {b}?",
        "{a} - {b} = ?",
        "Take {b} from {a}.",
        "Tell me the difference of {a} and {b}.",
        "What do you get for {a} minus {b}?",
    ),
    "Can you take {b} from {a}?",
    "How much is {a} - {b}?",
    "{a} minus {b} is {y}.",
    can_follow=False,
)
AFTER = Relation(
    "after",
    "arithmetic",
    tuple((str(n), str(n + 1)) for n in range(20)),
    (
        "What number comes after {x}?",
        "Which number follows {x}?",
        "What is the next number after {x}?",
        "Tell me the number after {x}.",
        "After {x} comes which number?",
    ),
    "Can you tell me which number comes after {x}?",
    "What comes right after the number {x}?",
    "The number after {x} is {y}.",
)

ARITHMETIC: tuple[Relation, ...] = (PLUS, MINUS, AFTER)


def held_out_subjects(relation: Relation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pairs that no member ever studies: one set for development, another for the final test."""
    if not isinstance(relation, Sums):
        return (), ()
    subjects = [subject for subject, _ in relation.items]
    drawn = random.Random(f"{HOLD_OUT_SEED}-{relation.name}").sample(
        subjects, 2 * HELD_OUT_PAIRS_EACH
    )
    return tuple(drawn[:HELD_OUT_PAIRS_EACH]), tuple(drawn[HELD_OUT_PAIRS_EACH:])
