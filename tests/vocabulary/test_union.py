import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gac.core import END
from gac.vocabulary.union import NOWHERE, build_union
from tests.support.examples import examples
from tests.support.fakes import byte_level_definition, fake_vocabulary, unigram_definition

WORDS = st.lists(st.text("ab é\u2581", min_size=1, max_size=4), max_size=8)
DEFINITIONS = st.one_of(WORDS.map(byte_level_definition), WORDS.map(unigram_definition))


def vocabularies(*definitions: str):
    return [fake_vocabulary(f"m{place}", text) for place, text in enumerate(definitions)]


@examples(60)
@given(st.lists(DEFINITIONS, min_size=1, max_size=3), st.integers(0, 7))
def test_union_equals_a_brute_force_dictionary(definitions: list[str], mask: int) -> None:
    members = vocabularies(*definitions)
    leading = frozenset(m.name for place, m in enumerate(members) if mask >> place & 1)
    union = build_union(members, leading)
    order = [b""]
    for member in members:
        order += [token for token in dict.fromkeys(member.token_bytes) if token not in order]
    for member in members:
        if member.name in leading:
            stripped = [token.removeprefix(b" ") for token in member.token_bytes]
            order += [token for token in dict.fromkeys(stripped) if token not in order]
    assert list(union.tokens) == order
    assert union.index == {token: place for place, token in enumerate(order)}
    assert set(union.lead_places) == leading
    for member in members:
        for token_id, token in enumerate(member.token_bytes):
            place = union.places[member.name][token_id]
            if token_id in member.stop_ids:
                assert place == END
            elif token_id in member.masked_ids:
                assert place == NOWHERE
            else:
                assert union.tokens[place] == token
            if member.name not in leading:
                continue
            lead = union.lead_places[member.name][token_id]
            if token == b" ":
                assert lead == NOWHERE
            elif token:
                assert union.tokens[lead] == token.removeprefix(b" ")
            else:
                assert lead == place


def test_duplicates_share_a_union_id_and_end_comes_first() -> None:
    [member] = vocabularies(unigram_definition(["A"]))
    union = build_union([member])
    ids = [i for i, token in enumerate(member.token_bytes) if token == b"A"]
    assert len(ids) == 2
    assert len({int(union.places["m0"][i]) for i in ids}) == 1
    assert union.tokens[END] == b""
    assert union.rank[END] == 0
    assert union.places["m0"].dtype == np.int32


def test_rank_sorts_by_bytes_and_hashes_depend_on_bytes_alone() -> None:
    members = vocabularies(byte_level_definition(["ab", "b"]), unigram_definition(["ba", "é"]))
    one, other = build_union(members), build_union(members[::-1])
    assert one.tokens != other.tokens
    by_rank = [one.tokens[i] for i in np.argsort(one.rank)]
    assert by_rank == sorted(one.tokens)
    hashes = dict(zip(one.tokens, map(int, one.hashes), strict=True))
    assert hashes == dict(zip(other.tokens, map(int, other.hashes), strict=True))
    assert len(set(hashes.values())) == len(one)


def test_the_fingerprint_changes_with_a_token_and_with_the_order() -> None:
    a, b, c = vocabularies(
        byte_level_definition(["ab"]), byte_level_definition(["ac"]), byte_level_definition(["ab"])
    )
    prints = {build_union(list(m)).fingerprint for m in ([a], [b], [a, b], [b, a])}
    assert len(prints) == 4
    assert build_union([a]).fingerprint == build_union([c]).fingerprint
    assert build_union([a, c]).fingerprint == build_union([a]).fingerprint


UNION_SCRIPT = """
import json, sys
from gac.vocabulary.member_vocabulary import read_member_vocabulary
from gac.vocabulary.union import build_union
texts = json.load(sys.stdin)
members = [read_member_vocabulary(f"m{i}", text, {256}, 300) for i, text in enumerate(texts)]
union = build_union(members, frozenset({"m1"}))
canonical = [list(m.canonical.items()) for m in members]
print(union.fingerprint, union.hashes.tolist(), list(union.index), canonical)
"""


def test_the_union_does_not_depend_on_the_hash_seed() -> None:
    root = Path(__file__).parents[2]
    texts = [byte_level_definition(["the", " the", "é"]), unigram_definition(["the", " a", "b"])]
    answers = set()
    for seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", UNION_SCRIPT],
            input=json.dumps(texts).encode(),
            capture_output=True,
            check=True,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        )
        answers.add(answer.stdout)
    assert len(answers) == 1
    assert b"the" in answers.pop()


def test_real_members_share_what_they_share(real_named) -> None:
    """A union of real vocabularies is no larger than its parts, and no part is lost."""
    members = [real_named(n).vocabulary for n in ("mistral-7b-v0.1-32k", "stories260K")]
    union = build_union(members)
    assert len(union) == 1 + len(set().union(*(m.canonical for m in members)))
    for member in members:
        assert all(token in union.index for token in member.canonical)


@examples(100)
@given(words=st.lists(st.text("abé", min_size=2, max_size=5), max_size=12, unique=True))
def test_tokens_that_start_with_a_token_follow_it_in_rank(words) -> None:
    union = build_union([fake_vocabulary("m", byte_level_definition(words))])
    by_rank = [union.tokens[token_id] for token_id in np.argsort(union.rank)]
    for token_id, token in enumerate(union.tokens):
        found = by_rank[union.rank[token_id] : union.prefix_ends[token_id]]
        assert found == [other for other in by_rank if other.startswith(token)]
