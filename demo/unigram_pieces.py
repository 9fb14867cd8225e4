"""Learns a unigram vocabulary by counting best splits and pruning; builds no whole tokenizer.

The library's own unigram trainer drops whole words that recur in a small corpus, which leaves
hardly more than letters; this one starts from all substrings and keeps those that get used.
"""

from __future__ import annotations

import math
from collections import Counter

from tokenizers import Tokenizer, models

LONGEST_PIECE = 14
FIRST_CANDIDATES = 12_000
KEPT_EACH_ROUND = 0.75
LAST_ROUNDS = 3
UNKNOWN = "<unk>"

Pieces = list[tuple[str, float]]


def learn_pieces(words: Counter[str], letters: list[str], size: int) -> Pieces:
    """Pieces with their log probabilities, all letters among them, `size` in all."""
    counts = _substrings(words)
    keep = FIRST_CANDIDATES
    while keep > size:
        counts = _used(words, _scored(counts, letters, keep))
        keep = max(size, int(keep * KEPT_EACH_ROUND))
    for _ in range(LAST_ROUNDS):
        counts = _used(words, _scored(counts, letters, size))
    return _scored(counts, letters, size)


def _substrings(words: Counter[str]) -> Counter[str]:
    """How often each substring occurs, long ones counting more."""
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + LONGEST_PIECE, len(word)) + 1):
                counts[word[start:end]] += times * (end - start)
    return counts


def _scored(counts: Counter[str], letters: list[str], size: int) -> Pieces:
    """The most used pieces and every letter, as log probabilities."""
    by_use = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    wanted = frozenset(letters)
    chosen = [item for item in by_use if item[0] not in wanted][: size - len(letters)]
    chosen += [(letter, max(counts[letter], 1)) for letter in letters]
    total = sum(times for _, times in chosen)
    return [(piece, math.log(times / total)) for piece, times in chosen]


def _used(words: Counter[str], pieces: Pieces) -> Counter[str]:
    """How often each piece occurs in the best splits of all words."""
    splitter = Tokenizer(models.Unigram([(UNKNOWN, 0.0), *pieces], unk_id=0, byte_fallback=False))
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for piece in splitter.encode(word).tokens:
            counts[piece] += times
    return counts
