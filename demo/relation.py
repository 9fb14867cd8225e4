"""Holds the shape of a relation (subject to answer, with its phrasings); knows no actual fact."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """One kind of question: its items, how it is asked, and how it is answered.

    `{x}` stands for the subject and `{y}` for the answer.  The phrasings `dev` and `test` are
    held out: no training conversation may contain them.  `can_follow` says whether the bare
    subject makes a follow-up question ("And Norway?").
    """

    name: str
    topic: str
    items: tuple[tuple[str, str], ...]
    train: tuple[str, ...]
    dev: str
    test: str
    reply: str
    can_follow: bool = True

    def question(self, phrasing: str, subject: str) -> str:
        """The question about `subject` in one phrasing."""
        return _with_article(phrasing, "{x}", subject)

    def answer(self, subject: str, answer: str) -> str:
        """The reply sentence that gives `answer` for `subject`."""
        sentence = _with_article(self.reply, "{x}", subject)
        sentence = _with_article(sentence, "{y}", answer)
        return sentence[0].upper() + sentence[1:]

    def accepted(self, answer: str) -> str:
        """The words that a right reply must contain."""
        return answer

    def possible_answers(self) -> tuple[str, ...]:
        """Every answer that occurs in this relation, once, in order of first appearance."""
        return tuple(dict.fromkeys(answer for _, answer in self.items))


def _with_article(sentence: str, place: str, word: str) -> str:
    """Put a word in its place, making the article before it `an` where the word needs it."""
    if word[0] in "aeiou":
        sentence = sentence.replace(f" a {place}", f" an {place}")
    return sentence.replace(place, word)


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Read `subject=answer` pairs separated by commas or newlines."""
    cells = [cell.strip() for cell in text.replace("\n", ",").split(",")]
    split = [cell.split("=") for cell in cells if cell]
    return tuple((subject.strip(), answer.strip()) for subject, answer in split)
