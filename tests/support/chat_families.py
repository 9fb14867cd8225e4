"""Small tokenizers whose added tokens and chat templates are like those of four real families.

The templates are shortened; what counts is which added tokens they write, and where.
"""

import json
from dataclasses import dataclass

from tests.support.fakes import byte_level_definition, unigram_definition

WORDS = ["the", " the", "user", "assistant", "think", "Paris", " Paris", "\n", "final"]


@dataclass(frozen=True)
class ChatFamily:
    """A `tokenizer.json`, a template, and which of its added tokens are what."""

    definition: str
    template: str
    controls: frozenset[str]
    """Nobody's content holds one."""
    markup: frozenset[str]
    """Members may write it, and it is read in what an assistant said."""
    writable_controls: frozenset[str]
    end: str
    plain: frozenset[str] = frozenset()


def with_added(definition: str, contents: dict[str, bool], **flags: object) -> str:
    """More added tokens: how each is written, and whether it is flagged special."""
    changed = json.loads(definition)
    pieces = changed["model"]["vocab"]
    num_ids = max([len(pieces) - 1, *(token["id"] for token in changed["added_tokens"])]) + 1
    same = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for place, (content, special) in enumerate(contents.items()):
        token = {"id": num_ids + place, "content": content, "special": special, **same, **flags}
        changed["added_tokens"].append(token)
    return json.dumps(changed)


_BEGIN, _END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
_USER, _ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
DEEPSEEK = ChatFamily(
    with_added(
        byte_level_definition(WORDS, (_BEGIN, _END)),
        dict.fromkeys((_USER, _ASSISTANT, "<think>", "</think>", "<｜tool▁call▁begin｜>"), False),
        normalized=True,
    ),
    "{{ '" + _BEGIN + "' }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}{{ '" + _USER + "' + m.content }}"
    "{% else %}{{ '" + _ASSISTANT + "' + m.content.split('</think>')[-1] + '" + _END + "' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + _ASSISTANT + "<think>\n' }}{% endif %}",
    controls=frozenset({_BEGIN, _END, _USER, _ASSISTANT}),
    markup=frozenset({"<think>", "</think>", "<｜tool▁call▁begin｜>"}),
    writable_controls=frozenset(),
    end=_END,
)

QWEN3 = ChatFamily(
    with_added(
        byte_level_definition(WORDS, ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
        dict.fromkeys(("<think>", "</think>", "<tool_call>", "</tool_call>"), False),
    ),
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}"
    "{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    controls=frozenset({"<|endoftext|>", "<|im_start|>", "<|im_end|>"}),
    markup=frozenset({"<think>", "</think>", "<tool_call>", "</tool_call>"}),
    writable_controls=frozenset(),
    end="<|im_end|>",
)

_HARMONY = ("<|endoftext|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>")
HARMONY = ChatFamily(
    byte_level_definition(WORDS, (*_HARMONY, "<|call|>", "<|return|>")),
    "{{ '<|start|>system<|message|>Channels: analysis, final.<|end|>' }}{% for m in messages %}"
    "{% if m.role == 'assistant' %}"
    "{% if '<|channel|>' in m.content %}{{ raise_exception('channels in the content') }}{% endif %}"
    "{% if loop.last and not add_generation_prompt %}{% if 'thinking' in m %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
    "{% else %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}"
    "{% endif %}{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
    controls=frozenset({*_HARMONY, "<|call|>", "<|return|>"}),
    markup=frozenset(),
    writable_controls=frozenset({"<|channel|>", "<|start|>", "<|end|>", "<|message|>"}),
    end="<|return|>",
)


def _without_dummy_prefix(definition: str) -> str:
    changed = json.loads(definition)
    changed["normalizer"] = changed["normalizer"]["normalizers"][-1]
    return json.dumps(changed)


_GEMMA = ("<eos>", "<start_of_turn>", "<end_of_turn>")
GEMMA = ChatFamily(
    with_added(
        _without_dummy_prefix(unigram_definition(WORDS, _GEMMA)),
        dict.fromkeys(("\n\n", "\n\n\n", "\u2581\u2581", "\u2581" * 3, "<table>"), False),
    ),
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n\n' }}{% endif %}",
    controls=frozenset({*_GEMMA, "<unk>"}),
    markup=frozenset({"<table>"}),
    writable_controls=frozenset(),
    end="<end_of_turn>",
    plain=frozenset({"\n\n", "\n\n\n", "\u2581\u2581", "\u2581" * 3}),
)

FAMILIES = {"deepseek": DEEPSEEK, "qwen3": QWEN3, "harmony": HARMONY, "gemma": GEMMA}
