"""The demo's test questions as lm-evaluation-harness reads them; nothing is downloaded."""

from __future__ import annotations

import random
from typing import Any

from datasets import Dataset, DatasetDict

from demo.curriculum import RELATIONS
from demo.questions import Question, questions

NUM_CHOICES = 4


def load(**_: object) -> DatasetDict:
    """One split, `test`: each question as asked, as the beginning of its answer, and with choices.

    The wrong choices are answers to other questions of the same kind.  Left out are follow-up
    questions, which need the exchange before them, and answers that begin their sentence: the
    harness sends no empty prompt.
    """
    asked = [question for question in questions("test") if len(question.conversation) == 1]
    documents = [_document(question) for question in asked]
    return DatasetDict({"test": Dataset.from_list([d for d in documents if d["beginning"]])})


def _document(question: Question) -> dict[str, Any]:
    """A question's fields; `beginning` and `answer`, joined by a space, begin the right reply."""
    accepted = question.accepted[0]
    beginning = question.reply[: question.reply.index(accepted)].rstrip()
    answer = question.reply[len(beginning) :].strip(" .")
    rng = random.Random(question.reply)
    others = [other for other in _possible(question) if other != answer]
    choices = [answer, *rng.sample(others, min(NUM_CHOICES - 1, len(others)))]
    rng.shuffle(choices)
    return {
        "question": question.conversation[0]["content"],
        "beginning": beginning,
        "answer": answer,
        "reply": question.reply,
        "choices": choices,
        "gold": choices.index(answer),
    }


def _possible(question: Question) -> list[str]:
    """Every answer to questions of the same kind."""
    for relation in RELATIONS:
        if any(relation.answer(*item) == question.reply for item in relation.items):
            return list(dict.fromkeys(map(relation.accepted, relation.possible_answers())))
    raise AssertionError(f"no relation has the answer {question.reply!r}")
