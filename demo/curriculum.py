"""Deals the items of every relation to a member; writes no sentence.

The hands overlap but differ.  Of what a member has not studied it meets the question now and then
with an answer guessed afresh each time, so that it learns to be unsure instead of wrong.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from demo.members import Member
from demo.relation import Relation
from demo.topics.arithmetic import ARITHMETIC, held_out_subjects
from demo.topics.facts import FACTS
from demo.topics.words import WORD_GAMES

RELATIONS: tuple[Relation, ...] = FACTS + WORD_GAMES + ARITHMETIC
GUESSED_WEIGHT = 0.4
# Numbers play so many parts that they need more practice than names do.
NUMBERS_WEIGHT = 2.2


@dataclass(frozen=True)
class Hand:
    """What one member is dealt of one relation."""

    relation: Relation
    studied: tuple[tuple[str, str], ...]
    guessed: tuple[str, ...]

    @property
    def weight(self) -> float:
        """How often the relation comes up, in proportion to what there is to learn."""
        practice = NUMBERS_WEIGHT if self.relation.topic == "arithmetic" else 1.0
        return practice * (len(self.studied) + GUESSED_WEIGHT * len(self.guessed))

    def draw(self, rng: random.Random) -> tuple[str, str]:
        """A subject and its answer: the true one if studied, any possible one if not."""
        guessed_share = GUESSED_WEIGHT * len(self.guessed)
        if rng.random() * (len(self.studied) + guessed_share) < len(self.studied):
            return rng.choice(self.studied)
        return rng.choice(self.guessed), rng.choice(self.relation.possible_answers())


def teachable_items(relation: Relation) -> tuple[tuple[str, str], ...]:
    """The items that may occur in training: all but the held-out sums."""
    dev, test = held_out_subjects(relation)
    kept_back = frozenset(dev + test)
    return tuple(item for item in relation.items if item[0] not in kept_back)


def deal(member: Member) -> tuple[Hand, ...]:
    """Every relation's items, split into what the member studies and what it can only guess."""
    return tuple(_hand(member, relation) for relation in RELATIONS)


def deal_everything() -> tuple[Hand, ...]:
    """A hand in which all is studied: the common text the tokenizers are trained on."""
    return tuple(Hand(relation, teachable_items(relation), ()) for relation in RELATIONS)


def _hand(member: Member, relation: Relation) -> Hand:
    """One member's share of one relation."""
    items = list(teachable_items(relation))
    # Seeding with a string is stable over processes; hash() is not.
    random.Random(f"deal-{member.seed}-{relation.name}").shuffle(items)
    cut = round(member.shares[relation.topic] * len(items))
    return Hand(relation, tuple(items[:cut]), tuple(subject for subject, _ in items[cut:]))
