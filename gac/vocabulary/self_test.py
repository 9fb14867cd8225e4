"""The load-time check that a tokenizer is lossless: encode, join the bytes, compare.

Refuses what stays lossy once prompt rules are off: lower-casing, NFKC, `<unk>` for ordinary text.
"""

from gac.errors import VocabularyError
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

_HARMLESS = ("NFC", "Prepend", "Replace", "ByteLevel")
"""Normalisers that are taken out for text that models write, or that only change its spelling."""


def check_lossless(name: str, definition: Json, family: Family, encoder: TextEncoder) -> None:
    """Encode every sample and compare the bytes.

    A byte-level vocabulary may lack bytes: samples that need those are passed over.
    Raises: VocabularyError with the first sample that fails, and the likely reason.
    """
    missing = encoder.missing_bytes if family is Family.BYTE_LEVEL else frozenset()
    for sample in SAMPLES:
        for part in (sample, *sample.split(" ")):
            if missing.isdisjoint(part.encode()) and not _survives(part.encode(), encoder):
                raise VocabularyError(
                    f"the tokenizer of member {name!r} is lossy: {part!r} does not survive "
                    f"encoding. {_reasons(definition, family)}A member of a byte-exact ensemble "
                    "needs a tokenizer that keeps every byte."
                )


def _survives(text: bytes, encoder: TextEncoder) -> bool:
    try:
        return encoder.keeps(text) and encoder.decode(encoder.encode(text)) == text
    except CannotSpell:
        return False


def _reasons(definition: Json, family: Family) -> str:
    rules = [part["type"] for part in components(definition.get("normalizer"))]
    lossy_rules = [rule for rule in rules if rule not in _HARMLESS]
    reasons = []
    if lossy_rules:
        reasons.append("it normalises text by " + ", ".join(lossy_rules))
    if family is Family.METASPACE and not definition["model"].get("byte_fallback"):
        reasons.append("it has no byte fallback, so unknown text becomes <unk>")
    return "Reason: " + "; ".join(reasons) + ". " if reasons else ""
