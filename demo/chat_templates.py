"""The chat markup of each tokenizer kind, as Jinja templates; renders nothing itself."""

from __future__ import annotations

from demo.members import TokenizerKind

# Refuses roles it does not know.
_IM_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('Unknown role: ' + message['role']) -}}
{%- endif -%}
{%- if message['role'] == 'system' and not loop.first -%}
{{- raise_exception('The system message must come first') -}}
{%- endif -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

# Refuses conversations in which user and assistant do not alternate.
_PIPE_TEMPLATE = """\
{{- '<s>' -}}
{%- if messages and messages[0]['role'] == 'system' -%}
{{- '<|system|>' + messages[0]['content'] + '</s>' -}}
{%- set turns = messages[1:] -%}
{%- else -%}
{%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
{%- if message['role'] != ['user', 'assistant'][loop.index0 % 2] -%}
{{- raise_exception('Roles must alternate user/assistant/user/assistant') -}}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '</s>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- endif -%}
"""

# Refuses a system message, and roles that do not alternate.
_TURN_TEMPLATE = """\
{{- '<bos>' -}}
{%- if messages and messages[0]['role'] == 'system' -%}
{{- raise_exception('System role not supported') -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] != ['user', 'assistant'][loop.index0 % 2] -%}
{{- raise_exception('Roles must alternate user/assistant/user/assistant') -}}
{%- endif -%}
{%- set opening = '<user_turn>' if message['role'] == 'user' else '<model_turn>' -%}
{{- opening + message['content'] + '<end_of_turn>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<model_turn>' -}}
{%- endif -%}
"""

CHAT_TEMPLATES: dict[TokenizerKind, str] = {
    "byte_bpe": _IM_TEMPLATE,
    "sentencepiece_bpe": _PIPE_TEMPLATE,
    "unigram": _TURN_TEMPLATE,
}
ASSISTANT_OPENINGS: dict[TokenizerKind, str] = {
    "byte_bpe": "<|im_start|>assistant\n",
    "sentencepiece_bpe": "<|assistant|>",
    "unigram": "<model_turn>",
}
