"""Generates training conversations from the dealt hands; uses no text from outside the project."""

from __future__ import annotations

import random
from collections.abc import Iterator

from demo.curriculum import Hand, deal, deal_everything
from demo.members import Member
from demo.relation import Relation
from demo.topics.small_talk import SYSTEM_PROMPTS, small_talk_exchange
from demo.topics.stories import story_exchange

Message = dict[str, str]
Conversation = list[Message]
Exchange = tuple[str, str]

STORY_SHARE = 0.04
SMALL_TALK_SHARE = 0.04
FOLLOW_UP_SHARE = 0.35
SYSTEM_SHARE = 0.12
PLAIN_SHARE = 0.75
SLOPPY_SHARE = 0.08
EXCHANGES = (1, 1, 1, 2, 2, 3)
_LEAD_INS = (
    "Please tell me: ",
    "Tell me, ",
    "Hi! ",
    "Quick question: ",
    "Do you know this? ",
    "I have a question. ",
    "Can you help me? ",
    "Please answer: ",
    "Can you tell me: ",
)
FOLLOW_UPS_TRAIN = ("And {x}?", "What about {x}?", "And what about {x}?", "And for {x}?")
FOLLOW_UP_DEV = "How about {x}?"
FOLLOW_UP_TEST = "And how about {x}?"


def member_conversations(member: Member, count: int) -> Iterator[Conversation]:
    """The conversations one member is trained on."""
    rng = random.Random(f"corpus-{member.seed}")
    hands = deal(member)
    for _ in range(count):
        yield _conversation(hands, rng, member.accepts_system)


def common_conversations(count: int) -> Iterator[Conversation]:
    """Conversations over all there is to know, from which the tokenizers take their pieces."""
    rng = random.Random("common")
    hands = deal_everything()
    for _ in range(count):
        yield _conversation(hands, rng, True)


def _conversation(
    hands: tuple[Hand, ...], rng: random.Random, accepts_system: bool
) -> Conversation:
    """One conversation of one to three exchanges, now and then with a system prompt."""
    messages: Conversation = []
    for question, reply in _exchanges(hands, rng, rng.choice(EXCHANGES)):
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": reply})
    if rng.random() < SYSTEM_SHARE:
        prompt = rng.choice(SYSTEM_PROMPTS)
        if accepts_system:
            messages.insert(0, {"role": "system", "content": prompt})
        else:
            # A server may fold the system prompt into the first user message.
            messages[0]["content"] = f"{prompt}\n\n{messages[0]['content']}"
    return messages


def _exchanges(hands: tuple[Hand, ...], rng: random.Random, count: int) -> Iterator[Exchange]:
    """Questions with replies; one may follow up on the relation asked about before it."""
    weights = [hand.weight for hand in hands]
    previous: Hand | None = None
    for _ in range(count):
        kind = rng.random()
        if previous is not None and rng.random() < FOLLOW_UP_SHARE:
            yield _follow_up(previous, rng)
        elif kind < STORY_SHARE:
            previous = None
            yield story_exchange(rng)
        elif kind < STORY_SHARE + SMALL_TALK_SHARE:
            previous = None
            yield small_talk_exchange(rng)
        else:
            hand = rng.choices(hands, weights)[0]
            previous = hand if hand.relation.can_follow else None
            yield _asked_plainly(hand, rng)


def _asked_plainly(hand: Hand, rng: random.Random) -> Exchange:
    """A question in one of the training phrasings, and its answer."""
    relation = hand.relation
    subject, answer = hand.draw(rng)
    question = opened(relation.question(rng.choice(relation.train), subject))
    if rng.random() > PLAIN_SHARE:
        question = rng.choice(_LEAD_INS) + question
    return _sloppy(question, rng), relation.answer(subject, answer)


def _follow_up(hand: Hand, rng: random.Random) -> Exchange:
    """A short question that only makes sense after one about the same relation."""
    subject, answer = hand.draw(rng)
    question = follow_up_question(rng.choice(FOLLOW_UPS_TRAIN), hand.relation, subject)
    return _sloppy(question, rng), hand.relation.answer(subject, answer)


def follow_up_question(phrasing: str, relation: Relation, subject: str) -> str:
    """A follow-up about one subject."""
    return opened(relation.question(phrasing, subject))


def opened(sentence: str) -> str:
    """The sentence with a capital at its start."""
    return sentence[0].upper() + sentence[1:]


def _sloppy(question: str, rng: random.Random) -> str:
    """Now and then the question as people type it: no capitals, or no mark at the end."""
    if rng.random() < SLOPPY_SHARE:
        question = question.lower()
    if rng.random() < SLOPPY_SHARE:
        question = question.rstrip("?.")
    return question
