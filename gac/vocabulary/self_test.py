"""The load-time check of a tokenizer: encode sample texts, join the bytes, compare.

It refuses tokenizers that lose bytes of a sample even without the rules for prompts, such as
lower-casing, NFKC or `<unk>` for ordinary text.  A loss that no sample shows is not found.
"""

from gac.errors import VocabularyError
from gac.vocabulary.added_tokens import METASPACE
from gac.vocabulary.text_encoder import CannotSpell, TextEncoder
from gac.vocabulary.token_bytes import Family, Json, components

SAMPLES: tuple[str, ...] = (
    "The quick brown fox jumps over the lazy dog. UPPER, lower, MiXeD.",
    "  two leading spaces,   three inside, trailing   ",
    "line one\nline two\r\nline three\r\n\n\n\tindented\t\tmore\n    four",
    "0123456789 3.14159 1,000,000 2e-10 0x1F 192.168.0.1 2024-06-18",
    "def f(x):\n\treturn {k: v for k, v in x.items() if v != 'a\\n'}  # $#@!%^&*()[]{}<>|~`",
    "naïve café Ångström straße İstanbul ǆ ﬁ ① ½ ² ™ … — “quoted” ‘single’ €",
    "e\u0301 n\u0303 \u1100\u1161\u11a8 decomposed",
    "Привет, мир! Γειά σου Κόσμε. שלום עולם. مرحبا بالعالم.",
    "नमस्ते दुनिया। สวัสดีชาวโลก ഹലോ அகிலம் བོད",
    "你好，世界！日本語のテキスト、カタカナ。한국어 문장입니다. 𠮷野家",
    "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇳🇴 e⃣ ☺️ 🤷🏻‍♀️",
    "zero\u200bwidth \u00a0nbsp \u3000ideographic \u2028line \ufeffbom \u202ebidi",
    "\u2581 lower block \u2581\u2581 and <0x41> <s> </s> <unk> [INST] <|im_end|> text",
    "\x00 nul \x1b[0m escape \x7f",
)
"""Many scripts, code, digits, white space, combining marks, emoji families, control look-alikes."""

_HARMLESS = ("NFC", "Prepend", "ByteLevel")
"""Normalisers that are taken out for text that models write, or that only change its spelling."""


def check_lossless(name: str, definition: Json, family: Family, encoder: TextEncoder) -> None:
    """Encode every sample and compare the bytes.

    Parts of samples that need a byte which a byte-level vocabulary lacks are left out.
    Raises: VocabularyError with the first sample that fails, what came back, and the rules that
    may be the reason.
    """
    missing = encoder.missing_bytes if family is Family.BYTE_LEVEL else frozenset()
    for sample in SAMPLES:
        for part in (sample, *sample.split(" ")):
            if not missing.isdisjoint(part.encode()):
                continue
            if (returned := _returned(part.encode(), encoder)) != part.encode():
                raise VocabularyError(
                    f"the tokenizer of member {name!r} is lossy: {part!r} does not survive "
                    f"encoding, it becomes {_shown(returned)}. Reason: "
                    f"{_reasons(definition, family)}. A member of a byte-exact ensemble needs a "
                    "tokenizer that keeps every byte."
                )


def _returned(text: bytes, encoder: TextEncoder) -> bytes | str:
    """What a text becomes, or why it cannot be encoded."""
    try:
        if (kept := encoder.kept(text)) != text:
            return kept
        return encoder.decode(encoder.encode(text))
    except CannotSpell as error:
        return str(error)


def _shown(returned: bytes | str) -> str:
    if isinstance(returned, str):
        return f"nothing ({returned})"
    return repr(returned.decode(errors="backslashreplace"))


def _reasons(definition: Json, family: Family) -> str:
    """The rules of a tokenizer that may lose text; never empty."""
    parts = list(components(definition.get("normalizer")))
    lossy = [_rule(part) for part in parts if part["type"] not in _HARMLESS and not _spaces(part)]
    reasons = ["it normalises text by " + ", ".join(lossy)] if lossy else []
    if family is Family.METASPACE and not definition["model"].get("byte_fallback"):
        reasons.append("it has no byte fallback, so unknown text becomes <unk>")
    if not reasons:
        others = [*parts, *components(definition.get("pre_tokenizer"))]
        rules = ", ".join(map(_rule, others)) or "no normaliser and no pre-tokeniser"
        model = definition["model"].get("type")
        reasons.append(f"not known; it is a {family} {model} tokenizer with {rules}")
    return "; ".join(reasons)


def _spaces(part: Json) -> bool:
    """Whether a rule writes a space as U+2581, which is how SentencePiece spells it."""
    pattern = part.get("pattern", {})
    is_space = " " in (pattern.get("String"), pattern.get("Regex"))
    return part["type"] == "Replace" and is_space and part["content"] == METASPACE


def _rule(part: Json) -> str:
    """A rule with what it looks for, in a few words."""
    if part["type"] != "Replace" and "pattern" not in part:
        return str(part["type"])
    content = f" by {part['content']!r}" if "content" in part else ""
    [pattern] = part["pattern"].values()
    return f"{part['type']} of {pattern[:40]!r}{content}"
