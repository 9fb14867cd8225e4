"""Turns conversations into padded batches whose loss falls on replies only; trains nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from demo.chat_templates import ASSISTANT_OPENINGS
from demo.corpus import Conversation
from demo.members import Member

IGNORED = -100
WINDOW = 1024


@dataclass(frozen=True)
class Lesson:
    """One tokenized conversation and what is to be predicted in it."""

    token_ids: list[int]
    labels: list[int]


def read_lessons(
    member: Member, tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation]
) -> list[Lesson]:
    """Tokenize whole rendered conversations, exactly as a server would."""
    texts = [tokenizer.apply_chat_template(turns, tokenize=False) for turns in conversations]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    marker = ASSISTANT_OPENINGS[member.tokenizer_kind]
    opening = tokenizer.encode(marker, add_special_tokens=False)
    return [Lesson(row, _reply_labels(row, opening, tokenizer.eos_token_id)) for row in rows]


def _reply_labels(token_ids: list[int], opening: list[int], end_of_turn: int) -> list[int]:
    """The ids inside replies, end of turn included; everything else is ignored."""
    labels = [IGNORED] * len(token_ids)
    inside = False
    for place, token in enumerate(token_ids):
        if inside:
            labels[place] = token
            inside = token != end_of_turn
        elif token_ids[max(0, place + 1 - len(opening)) : place + 1] == opening:
            inside = True
    return labels


def batches(
    lessons: list[Lesson], pad: int, tokens_each: int, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of like length (ids, mask, labels), in random order inside each window."""
    for start in range(0, len(lessons), WINDOW):
        window = sorted(lessons[start : start + WINDOW], key=lambda lesson: len(lesson.token_ids))
        groups = list(_groups(window, tokens_each))
        rng.shuffle(groups)
        for group in groups:
            yield _padded(group, pad)


def _groups(lessons: list[Lesson], tokens_each: int) -> Iterator[list[Lesson]]:
    """Runs of lessons that fit the token budget once padded to their longest."""
    group: list[Lesson] = []
    for lesson in lessons:
        if group and len(lesson.token_ids) * (len(group) + 1) > tokens_each:
            yield group
            group = []
        group.append(lesson)
    yield group


def _padded(group: list[Lesson], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One batch, padded on the right."""
    width = max(len(lesson.token_ids) for lesson in group)
    ids = [lesson.token_ids + [pad] * (width - len(lesson.token_ids)) for lesson in group]
    labels = [lesson.labels + [IGNORED] * (width - len(lesson.labels)) for lesson in group]
    mask = [[1] * len(row.token_ids) + [0] * (width - len(row.token_ids)) for row in group]
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(labels)
