"""How often a drafter would have drafted the token that was picked: acceptance, seen from outside.

The text that was written is replayed through the drafter's own context, and its own best token
after every prefix is compared with the bytes that were picked there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.alone import Alone
from benchmarks.running import Running
from gac.core import GenerateRequest, TokenEvent
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.retokenize import MemberContext


@dataclass(frozen=True)
class Drafter:
    """A member by name, with its own model in this process."""

    name: str
    model: Alone


def agreement(running: Running, drafter: Drafter, requests: Sequence[GenerateRequest]) -> float:
    """The share of picks that equal the drafter's own best token there."""
    equal = total = 0
    for request in requests:
        picked = running.tokens(request)
        own = _own_best(running, drafter, request, picked)
        equal += sum(best == event.token_bytes for best, event in zip(own, picked, strict=True))
        total += len(picked)
    return equal / total


def _own_best(
    running: Running, drafter: Drafter, request: GenerateRequest, picked: Sequence[TokenEvent]
) -> list[bytes]:
    """The bytes of the drafter's best token before each of the picks."""
    ensemble = running.ensemble
    vocabulary = ensemble.vocabularies[drafter.name]
    prompt = request.prompts[drafter.name]
    context = MemberContext.start(vocabulary, ensemble.rule, prompt)
    best = []
    for event in picked:
        logits = drafter.model.logits(context.ids, 1)
        token = _best_token(vocabulary, logits[0])
        best.append(token.removeprefix(b" ") if context.at_lead else token)
        context.commit(event.token_bytes, drafter.name in event.pick.owners)
    return best


def _best_token(vocabulary: MemberVocabulary, logits: torch.Tensor) -> bytes:
    """The bytes of the best id that is text; texts of forced length do not end."""
    silent = torch.tensor(sorted(vocabulary.masked_ids | vocabulary.stop_ids))
    return vocabulary.token_bytes[int(logits.index_fill(0, silent, -torch.inf).argmax())]
