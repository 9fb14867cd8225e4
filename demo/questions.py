"""The held-out questions: one set to tune on, one only for the reported table; trains nothing.

Neither set's phrasings occur in training.  The sums under the topic `new sums` do not occur at all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from demo.corpus import (
    FOLLOW_UP_DEV,
    FOLLOW_UP_TEST,
    FOLLOW_UPS_TRAIN,
    Conversation,
    follow_up_question,
    opened,
)
from demo.curriculum import RELATIONS, teachable_items
from demo.relation import Relation
from demo.topics.arithmetic import Sums, held_out_subjects

Part = Literal["dev", "test"]
ITEMS_EACH = 15
SUMS_EACH = 24
FOLLOW_UPS_EACH = 3


@dataclass(frozen=True)
class Question:
    """A conversation that ends with a question, and the words any of which answers it.

    `reply` is the right answer as the members were taught to word it.
    """

    topic: str
    conversation: Conversation
    accepted: tuple[str, ...]
    reply: str = ""


def questions(part: Part) -> list[Question]:
    """All questions of the development or of the final set."""
    rng = random.Random(f"questions-{part}")
    asked = [question for relation in RELATIONS for question in _asked(relation, part, rng)]
    followed = [
        question
        for relation in RELATIONS
        if relation.can_follow
        for question in _followed_up(relation, part, rng)
    ]
    return asked + followed


def held_out_phrasing(relation: Relation, part: Part) -> str:
    """The phrasing reserved for one set."""
    return relation.dev if part == "dev" else relation.test


def _asked(relation: Relation, part: Part, rng: random.Random) -> Iterator[Question]:
    """Single questions about one relation, the never-studied sums among them."""
    count = SUMS_EACH if isinstance(relation, Sums) else ITEMS_EACH
    for subject, answer in rng.sample(teachable_items(relation), count):
        yield _single(relation.topic, relation, part, subject, answer)
    answers = dict(relation.items)
    dev, test = held_out_subjects(relation)
    for subject in dev if part == "dev" else test:
        yield _single("new sums", relation, part, subject, answers[subject])


def _single(topic: str, relation: Relation, part: Part, subject: str, answer: str) -> Question:
    """One question in the held-out phrasing."""
    question = relation.question(held_out_phrasing(relation, part), subject)
    conversation = [{"role": "user", "content": opened(question)}]
    return Question(
        topic, conversation, (relation.accepted(answer),), relation.answer(subject, answer)
    )


def _followed_up(relation: Relation, part: Part, rng: random.Random) -> Iterator[Question]:
    """Questions that lean on the exchange before them."""
    follow_up = FOLLOW_UP_DEV if part == "dev" else FOLLOW_UP_TEST
    assert follow_up not in FOLLOW_UPS_TRAIN
    for _ in range(FOLLOW_UPS_EACH):
        (before, known), (subject, answer) = rng.sample(relation.items, 2)
        conversation = [
            {"role": "user", "content": opened(relation.question(relation.train[0], before))},
            {"role": "assistant", "content": relation.answer(before, known)},
            {"role": "user", "content": follow_up_question(follow_up, relation, subject)},
        ]
        yield Question("follow-up", conversation, (answer,), relation.answer(subject, answer))
