"""Trains the three kinds of tokenizer, each lossless over any text; knows nothing of the models."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Callable, Iterable

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from demo.chat_templates import CHAT_TEMPLATES
from demo.members import TokenizerKind
from demo.unigram_pieces import learn_pieces

DUMMY_SPACE = "\u2581"
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
# Below any sum of letter scores, so that a byte token never stands for its own literal name.
BYTE_TOKEN_SCORE = -1000.0


def train_tokenizer(
    kind: TokenizerKind, texts: Iterable[str], size: int
) -> PreTrainedTokenizerFast:
    """A trained tokenizer of one kind, with its chat template, ready to be saved."""
    tokenizer, names = _TRAINERS[kind](texts, size)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=CHAT_TEMPLATES[kind],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        **names,
    )


def _train_byte_bpe(texts: Iterable[str], size: int) -> tuple[Tokenizer, dict[str, str]]:
    """Byte-level BPE as in GPT-2 and Qwen: every byte has a letter, spaces lead the words."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(specials),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([_special(token) for token in specials])
    return tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def _train_sentencepiece_bpe(texts: Iterable[str], size: int) -> tuple[Tokenizer, dict[str, str]]:
    """BPE over marked spaces with byte fallback, laid out as Llama 2's tokenizer.json."""
    leading = ["<unk>", "<s>", "</s>", *BYTE_TOKENS]
    roles = ["<|system|>", "<|user|>", "<|assistant|>"]
    pieces, merges = _learn_merges(texts, size - len(leading) - len(roles))
    vocabulary = {token: index for index, token in enumerate([*leading, *pieces])}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    # Normalizer and decoder are Llama 2's to the letter; there is no pre-tokenizer.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(DUMMY_SPACE), normalizers.Replace(" ", DUMMY_SPACE)]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(DUMMY_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([_special(token) for token in [*leading[:3], *roles]])
    tokenizer.post_processor = _leading_token(tokenizer, "<s>")
    return tokenizer, {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<unk>",
    }


def _learn_merges(texts: Iterable[str], size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Pieces in order and the merges that make them, none of which spans two words."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = _word_splitter(digits_alone=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=[DUMMY_SPACE, *_LETTERS], show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    return pieces, [(left, right) for left, right in learned["merges"]]


def _train_unigram(texts: Iterable[str], size: int) -> tuple[Tokenizer, dict[str, str]]:
    """A unigram model over marked spaces, with byte fallback."""
    leading = ["<pad>", "<unk>", "<bos>"]
    roles = ["<user_turn>", "<model_turn>", "<end_of_turn>"]
    splitter = _word_splitter(digits_alone=False)
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text))
    room = size - len(leading) - len(BYTE_TOKENS) - len(roles)
    pieces = learn_pieces(words, [DUMMY_SPACE, *_LETTERS], room)
    vocabulary = [(token, 0.0) for token in leading]
    vocabulary += [(token, BYTE_TOKEN_SCORE) for token in BYTE_TOKENS]
    vocabulary += pieces
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=1, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement=DUMMY_SPACE, prepend_scheme="always", split=True
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Metaspace(replacement=DUMMY_SPACE, prepend_scheme="always", split=True),
        ]
    )
    tokenizer.add_special_tokens([_special(token) for token in [*leading, *roles]])
    tokenizer.post_processor = _leading_token(tokenizer, "<bos>")
    return tokenizer, {
        "unk_token": "<unk>",
        "bos_token": "<bos>",
        "eos_token": "<end_of_turn>",
        "pad_token": "<pad>",
    }


# All of printable ASCII, so that no ordinary letter needs the byte fallback.
_LETTERS = sorted(string.ascii_letters + string.digits + string.punctuation)


def _word_splitter(digits_alone: bool) -> pre_tokenizers.PreTokenizer:
    """Keep pieces inside words while learning: no piece spans a space, a line or punctuation."""
    marks = Regex(r"[^\s\w\u2581]|\s")
    steps = [
        pre_tokenizers.Metaspace(replacement=DUMMY_SPACE, prepend_scheme="always", split=True),
        pre_tokenizers.Split(marks, "isolated"),
    ]
    if digits_alone:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    return pre_tokenizers.Sequence(steps)


def _special(token: str) -> AddedToken:
    """A marker that is matched whole and that the normalizer leaves alone."""
    return AddedToken(token, special=True, normalized=False)


def _leading_token(tokenizer: Tokenizer, token: str) -> processors.PostProcessor:
    """Plain text (not chats, whose template writes it) gets one token at its start."""
    return processors.TemplateProcessing(
        single=f"{token} $A",
        pair=f"{token} $A {token} $B",
        special_tokens=[(token, tokenizer.token_to_id(token))],
    )


_TRAINERS: dict[TokenizerKind, Callable[[Iterable[str], int], tuple[Tokenizer, dict[str, str]]]] = {
    "byte_bpe": _train_byte_bpe,
    "sentencepiece_bpe": _train_sentencepiece_bpe,
    "unigram": _train_unigram,
}
