"""Asks the held-out questions and counts right answers: each member alone, and ensembles.

An answerer is any callable from conversations to replies: `MemberAlone` (Hugging Face `generate`)
or `Together` (our engine).
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from demo.corpus import Conversation
from demo.members import MEMBERS, Member
from demo.questions import Question, questions
from demo.together import Together
from gac.config import EveryStepConfig, SafeConfig, StrategyConfig, ThresholdConfig

Answer = Callable[[list[Conversation]], list[str]]

OVERALL = "overall"
MAX_NEW_TOKENS = 24
LONGEST_REPLY_WORDS = 16
BATCH = 64


class MemberAlone:
    """One member answering by itself, greedily, through Hugging Face `generate`."""

    def __init__(self, member: Member) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(member.folder, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(member.folder).eval()

    def __call__(self, conversations: list[Conversation]) -> list[str]:
        """The replies alone."""
        return [reply for reply, _ in self.with_confidence(conversations)]

    def with_confidence(self, conversations: list[Conversation]) -> list[tuple[str, float]]:
        """Each reply with the mean probability of its tokens."""
        found: list[tuple[str, float]] = []
        for start in range(0, len(conversations), BATCH):
            found += self._one_batch(conversations[start : start + BATCH])
        return found

    def _one_batch(self, conversations: list[Conversation]) -> list[tuple[str, float]]:
        """Generate for a few conversations at once, padded on the left."""
        prompts = [
            self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            for turns in conversations
        ]
        inputs = self._tokenizer(
            prompts, add_special_tokens=False, padding=True, return_tensors="pt"
        )
        made = self._model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        written = made.sequences[:, inputs["input_ids"].shape[1] :]
        chances = torch.stack(made.logits, dim=1).softmax(-1)
        chosen = chances.gather(-1, written[..., None])[..., 0]
        return [self._read(*row) for row in zip(written, chosen, strict=True)]

    def _read(self, written: torch.Tensor, chosen: torch.Tensor) -> tuple[str, float]:
        """The text up to the end of turn and how sure the member was of it."""
        ends = (written == self._tokenizer.eos_token_id).nonzero()
        length = int(ends[0]) + 1 if len(ends) else len(written)
        text = str(self._tokenizer.decode(written[:length], skip_special_tokens=True))
        return text.strip(), float(chosen[:length].mean())


def is_right(question: Question, reply: str) -> bool:
    """Whether an accepted answer is a word of the (short) reply."""
    if len(reply.split()) > LONGEST_REPLY_WORDS:
        return False
    return any(
        re.search(rf"(?<!\w){re.escape(word)}(?!\w)", reply, re.IGNORECASE)
        for word in question.accepted
    )


PAIR = ["ada", "bora"]
TRIO = ["ada", "bora", "cleo"]
ENSEMBLES: dict[str, tuple[list[str], StrategyConfig]] = {
    "pair": (PAIR, EveryStepConfig()),
    "pair, gate": (PAIR, ThresholdConfig(gate="ada", threshold=0.5)),
    "trio": (TRIO, EveryStepConfig()),
    "trio, gate": (TRIO, ThresholdConfig(gate="ada", threshold=0.5)),
    "trio, SAFE": (TRIO, SafeConfig(drafter="ada")),
}
"""What the table compares with the members: a name, the members, and how they write.

The pair is ada and bora; the gate is ada, with a threshold of 0.5; ada also drafts for SAFE.
"""


def ensemble_marks(asked: list[Question]) -> dict[str, list[bool]]:
    """Marks of every ensemble; prints how many tokens were decided by several members."""
    marks = {}
    for name, (members, strategy) in ENSEMBLES.items():
        together = Together(members, strategy, MAX_NEW_TOKENS)
        replies = together([question.conversation for question in asked])
        together.close()
        marks[name] = [is_right(*pair) for pair in zip(asked, replies, strict=True)]
        print(f"{name}: {100 * together.ensembled_share:.1f} % of tokens ensembled")
    return marks


def marks_table(marks: dict[str, list[bool]], asked: list[Question]) -> str:
    """The table of marks already given."""
    topics = [*dict.fromkeys(question.topic for question in asked), OVERALL]
    width = max(14, *(len(name) + 1 for name in marks))
    lines = [f"{'topic':12}{'n':>5}" + "".join(f"{name:>{width}}" for name in marks)]
    for topic in topics:
        places = [i for i, question in enumerate(asked) if topic in (question.topic, OVERALL)]
        cells = [_cell([given[i] for i in places]) for given in marks.values()]
        row = "".join(f"{cell:>{width}}" for cell in cells)
        lines.append(f"{topic:12}{len(places):>5}{row}")
    return "\n".join(lines)


def _cell(right: list[bool]) -> str:
    """A share in per cent with its standard error."""
    share = sum(right) / len(right)
    error = math.sqrt(share * (1 - share) / len(right))
    return f"{100 * share:.1f} ± {100 * error:.1f}"


def members_and_bounds(asked: list[Question]) -> dict[str, list[bool]]:
    """Marks of each member, of the surest member each time, and of whether any was right."""
    conversations = [question.conversation for question in asked]
    replies = {
        name: MemberAlone(member).with_confidence(conversations) for name, member in MEMBERS.items()
    }
    marks = {
        name: [is_right(question, text) for question, (text, _) in zip(asked, given, strict=True)]
        for name, given in replies.items()
    }
    surest = [max(replies, key=lambda name: replies[name][i][1]) for i in range(len(asked))]
    oracle = [any(given[i] for given in marks.values()) for i in range(len(asked))]
    return marks | {
        "surest": [marks[name][i] for i, name in enumerate(surest)],
        "any right": oracle,
    }


def main() -> None:
    """Print the table: members alone, what picking among them could reach, and ensembles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["dev", "test"], default="dev")
    options = parser.parse_args()
    torch.set_num_threads(1)
    asked = questions(options.part)
    marks = members_and_bounds(asked)
    print(marks_table(marks | ensemble_marks(asked), asked))


if __name__ == "__main__":
    main()
