"""Members without weights: real tokenizers of a few pieces, models that hash what they are told.

A stale cache, a missed truncation or a neighbour's ids change a hash, and with it the answer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from gac.core import Extend, Prompt
from gac.decoding.support import TokenOrder
from gac.engine.ensemble import Ensemble
from gac.engine.speculation import Pace, Speculation
from gac.members.drafting import Drafter
from gac.members.host import MemberHost, Runner
from gac.members.local import LocalMember
from gac.members.member import MemberFacts
from gac.model.listing import ROW_SIZE, Lister
from gac.model.projection import Projection
from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary
from gac.vocabulary.retokenize import Rule
from gac.vocabulary.token_bytes import gpt2_byte_of_character
from gac.vocabulary.union import UnionVocabulary, build_union

BYTE_CHARACTERS = {byte: character for character, byte in gpt2_byte_of_character().items()}


def byte_level_definition(
    words: Sequence[str], specials: Sequence[str] = ("<|end|>",), missing: bytes = b""
) -> str:
    """A GPT-2-like `tokenizer.json`: all bytes, and merges that build each word from the left.

    Without those `missing`, which words must not need.
    """
    spelled_alone = [byte for byte in range(256) if byte not in missing]
    vocabulary = {BYTE_CHARACTERS[byte]: place for place, byte in enumerate(spelled_alone)}
    merges: list[list[str]] = []
    for word in words:
        spelled = [BYTE_CHARACTERS[byte] for byte in word.encode()]
        left = spelled[0]
        for right in spelled[1:]:
            if left + right not in vocabulary:
                vocabulary[left + right] = len(vocabulary)
                merges.append([left, right])
            left += right
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": False}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": _added(specials, len(vocabulary)),
            "pre_tokenizer": {**level, "use_regex": True},
            "decoder": {**level, "use_regex": True},
            "model": model,
        }
    )


def unigram_definition(pieces: Sequence[str], specials: Sequence[str] = ("</s>",)) -> str:
    """A SentencePiece-like `tokenizer.json`: Unigram, byte fallback, dummy prefix."""
    vocabulary: list[list[object]] = [["<unk>", 0.0]]
    vocabulary += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    texts = dict.fromkeys(["\u2581", *(piece.replace(" ", "\u2581") for piece in pieces)])
    vocabulary += [[text, -4.0 - 0.01 * place] for place, text in enumerate(texts)]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    back = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": _added(["<unk>"], 0) + _added(specials, len(vocabulary)),
            "normalizer": {"type": "Sequence", "normalizers": [prepend, replace]},
            "decoder": {
                "type": "Sequence",
                "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip],
            },
            "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": True, "vocab": vocabulary},
        }
    )


def _added(contents: Sequence[str], first_id: int) -> list[dict[str, object]]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return [
        {"id": first_id + place, "content": content, "special": True, **flags}
        for place, content in enumerate(contents)
    ]


def fake_vocabulary(name: str, definition: str, padding: int = 3) -> MemberVocabulary:
    """A vocabulary whose last special token ends the text; the model has `padding` rows more."""
    last = max(token["id"] for token in json.loads(definition)["added_tokens"])
    return read_member_vocabulary(name, definition, {last}, last + 1 + padding)


@dataclass
class HashRunner:
    """A runner whose logits are a hash of a sequence's ids.

    `sharpness` scales them; `seed` makes members differ; `biases` are added to some ids' logits.
    With a `wobble` it differs by so much from one of the same seed that has none.
    """

    num_logits: int
    seed: int = 0
    sharpness: float = 3.0
    biases: Mapping[int, float] = field(default_factory=dict)
    wobble: float = 0.0
    max_context: int = 10_000
    told: dict[int, list[int]] = field(default_factory=dict)
    calls: list[tuple[Extend, ...]] = field(default_factory=list)

    def extend(self, batch: Sequence[Extend]) -> list[torch.Tensor]:
        self.calls.append(tuple(batch))
        return [self._answer(item) for item in batch]

    def _answer(self, item: Extend) -> torch.Tensor:
        ids = self.told.setdefault(item.sequence, [])
        assert item.kept <= len(ids), "the engine relies on ids it never told"
        ids[item.kept :] = item.tail
        assert len(ids) <= self.max_context, "the engine tells more ids than fit"
        rows = [self.logits(ids[:position]) for position in item.positions]
        return torch.stack(rows) if rows else torch.zeros(0, self.num_logits)

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """The distribution after these ids, and nothing else."""
        mixed = self.seed
        for token_id in ids:
            mixed = (mixed * 1_000_003 + token_id + 1) & 0xFFFFFFFF
        draw = np.random.default_rng(mixed)
        values = draw.standard_normal(self.num_logits) * self.sharpness
        if self.wobble:
            values += draw.standard_normal(self.num_logits) * self.wobble
        for biased, bias in self.biases.items():
            values[biased] += bias
        return torch.from_numpy(values.astype(np.float32))

    def release(self, sequences: Iterable[int]) -> None:
        for sequence in sequences:
            self.told.pop(sequence, None)


def projection_for(name: str, union: UnionVocabulary) -> Projection:
    """A member's projection on the CPU."""
    return Projection(
        union.places[name], len(union), union.lead_places.get(name), torch.device("cpu")
    )


def fake_host(
    vocabulary: MemberVocabulary, runner: Runner, union: UnionVocabulary, row_size: int = ROW_SIZE
) -> MemberHost:
    """A host around any runner."""
    name = vocabulary.name
    order = TokenOrder(union.rank, union.hashes)
    drafter = Drafter(name, order, union.own_ids(vocabulary), 1_000_000)
    return MemberHost(name, runner, Lister(name, projection_for(name, union), row_size), drafter)


@dataclass
class FakeEnsemble:
    """An ensemble of hash runners; `runners` shows what each was told."""

    ensemble: Ensemble
    runners: dict[str, HashRunner]

    def close(self) -> None:
        for member in self.ensemble.members.values():
            member.close()


def fake_ensemble(
    definitions: Mapping[str, str],
    *,
    seeds: Mapping[str, int] | None = None,
    weights: Mapping[str, float] | None = None,
    leading: Iterable[str] = (),
    rule: Rule = "canonical",
    sharpness: float = 3.0,
    end_bias: float = -2.0,
    space_bias: float = 0.0,
    max_context: int = 10_000,
    max_kv_tokens: int = 1_000_000,
    row_size: int = ROW_SIZE,
    wobbles: Mapping[str, float] | None = None,
) -> FakeEnsemble:
    """Members with these tokenizers, in this order, on threads of this process."""
    vocabularies = {name: fake_vocabulary(name, text) for name, text in definitions.items()}
    union = build_union(list(vocabularies.values()), frozenset(leading))
    runners, members = {}, {}
    for place, (name, vocabulary) in enumerate(vocabularies.items()):
        num_logits = len(vocabulary.token_bytes)
        runners[name] = HashRunner(
            num_logits,
            seed=(seeds or {}).get(name, place),
            sharpness=sharpness,
            biases={
                vocabulary.canonical[b" "]: space_bias,
                **dict.fromkeys(vocabulary.stop_ids, end_bias),
            },
            wobble=(wobbles or {}).get(name, 0.0),
            max_context=max_context,
        )
        host = fake_host(vocabulary, runners[name], union, row_size)
        facts = MemberFacts(num_logits, max_context, max_kv_tokens, "cpu", "float32", 0.0)
        members[name] = LocalMember(name, host, facts)
    shares = weights or dict.fromkeys(vocabularies, 1.0 / len(vocabularies))
    return FakeEnsemble(Ensemble(members, vocabularies, union, shares, rule), runners)


class EagerSpeculation(Speculation):
    """Speculation by a drafter that seems to cost next to nothing: it always pays."""

    def __init__(
        self, drafter: str, max_tokens: int, members: Iterable[str], draft_s: float = 1e-9
    ) -> None:
        paces = {name: Pace(draft_s if name == drafter else 1.0) for name in members}
        super().__init__(drafter, max_tokens, paces)

    def note(self, *args: object) -> None:
        """Learn nothing of how long fakes take."""


def prompt_for(fakes: FakeEnsemble, text: str, lead: bool = False) -> dict[str, Prompt]:
    """The same prompt for every member, in its own ids; `lead` where the union has it."""
    ensemble = fakes.ensemble
    return {
        name: Prompt(
            tuple(vocabulary.encoder.encode(text.encode())),
            lead and name in ensemble.union.lead_places,
        )
        for name, vocabulary in ensemble.vocabularies.items()
    }
