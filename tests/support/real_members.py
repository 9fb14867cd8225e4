"""Ensembles of real models, tiny and float32, in this process.

Some are built in memory with random weights, some lie in folders of this machine.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import LogitsProcessor, LogitsProcessorList

from gac.core import Prompt
from gac.engine.ensemble import Ensemble
from gac.members.local import LocalMember
from gac.members.member import MemberFacts
from gac.model.listing import ROW_SIZE
from gac.model.loading import LoadedModel, ModelSpec, as_loaded, load_model
from gac.model.runner import CacheUse, ModelRunner
from gac.model.templates import MemberTokenizer, load_member_tokenizer
from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary
from gac.vocabulary.prompt_encoder import PromptEncoder
from gac.vocabulary.retokenize import Rule
from gac.vocabulary.union import build_union
from tests.support.fakes import (
    byte_level_definition,
    fake_host,
    fake_vocabulary,
    unigram_definition,
)

ROOT = Path(__file__).parents[2]
FOLDERS = {
    **{name: ROOT / "demo" / "models" / name for name in ("ada", "bora", "cleo")},
    "stories": ROOT.parent / "shared" / "models" / "stories260K",
    "chatty": ROOT.parent / "shared" / "models" / "tinystories-instruct-3M-chat",
}
"""Trained models by the name they have in tests; not every machine has all."""
TRAINED = tuple(name for name, folder in FOLDERS.items() if (folder / "config.json").exists())
DEMO = tuple(name for name in ("ada", "bora", "cleo") if name in TRAINED)

_CONTEXT = 4096
_SEED = 11
_LETTERS = "abcdefghijklmnopqrstuvwxyzTO.,é\n"
DEFINITIONS = {
    "llama": byte_level_definition([" the", " cat", "sat", "he", " on", ".", "é", "\n\n", " a"]),
    "qwen2": byte_level_definition(["the", " th", "at", " sat", "on", "ca", "👍", " mat", "ing"]),
    "gpt2": byte_level_definition([" c", "cat", "ats", "th", "the ", "日本", " and", "\n"]),
    "neox": byte_level_definition(["he", "hen", " she", "sh", "ab", "ba", "1", "12", "  "]),
    "mistral": byte_level_definition([" of", "off", "fe", "é", "ea", " tea", "team", "am"]),
    "gram": unigram_definition([*_LETTERS, " the", " cat", "at", "sat", " on", "he", "日"]),
    "gram-sliding": unigram_definition([*_LETTERS, "the", " ca", "ca", "t", " sat", " mat", "ma"]),
}
"""The tokenizers of the models with random weights, by their names."""
RANDOM = tuple(DEFINITIONS)


@dataclass(frozen=True)
class RealModel:
    """A model with its tokenizer; `tokenizer` is there for models that lie in a folder."""

    name: str
    loaded: LoadedModel
    vocabulary: MemberVocabulary
    prompts: PromptEncoder
    leads: bool
    tokenizer: MemberTokenizer | None = None

    @cached_property
    def cache_use(self) -> CacheUse:
        """What the runner's self-check finds, once."""
        return ModelRunner(self.loaded, max_tokens=256, max_sequences=4).cache_use

    def prompt(self, text: str, templated: bool = False) -> Prompt:
        """A prompt; `templated` without a template: the bare text, and a reply that may lead."""
        if self.tokenizer is not None and (not templated or self.tokenizer.has_template):
            return self.tokenizer.prompt([{"role": "user", "content": text}], templated)
        ids = tuple(self.prompts.encode_text(text))
        return Prompt(ids, templated and self.leads)

    def probabilities(self, ids: Sequence[int]) -> list[float]:
        """The oracle: probabilities [Vm] after these ids, by one plain forward pass."""
        with torch.inference_mode():
            logits = self.loaded.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits
        given: list[float] = logits[0, -1].double().softmax(0).tolist()
        return given

    def generate(
        self, ids: Sequence[int], max_new_tokens: int, processor: LogitsProcessor | None = None
    ) -> tuple[list[int], bool]:
        """What the model's own greedy `generate` writes, and whether a stop id ended it."""
        stops = sorted(self.vocabulary.stop_ids)
        given = torch.tensor([list(ids)])
        written = self.loaded.model.generate(
            given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=stops,
            pad_token_id=stops[0],
            suppress_tokens=sorted(self.vocabulary.masked_ids) or None,
            logits_processor=LogitsProcessorList([processor] if processor else []),
        )
        new = written[0, len(ids) :].tolist()
        ended = bool(new) and new[-1] in stops
        return (new[:-1] if ended else new), ended


class Unite(LogitsProcessor):
    """Lets `generate` see bytes, not ids: what ids with the same bytes have goes to one of them.

    The stop ids are one such group, too.
    """

    def __init__(self, vocabulary: MemberVocabulary) -> None:
        self._groups: list[tuple[int, list[int]]] = []
        ids_of: dict[bytes, list[int]] = {}
        for token_id, token in enumerate(vocabulary.token_bytes):
            ids_of.setdefault(token, []).append(token_id)
        ids_of[b""] = sorted(vocabulary.stop_ids)
        for token, ids in ids_of.items():
            if len(ids) > 1:
                self._groups.append((vocabulary.canonical.get(token, ids[0]), ids))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        united = scores.clone()
        for kept, ids in self._groups:
            united[:, ids] = -torch.inf
            united[:, kept] = scores[:, ids].logsumexp(1)
        return united


def _config(name: str, num_ids: int, stop: int) -> Any:
    small: dict[str, Any] = {
        "vocab_size": num_ids,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": stop,
        "pad_token_id": None,
    }
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": _CONTEXT,
        **small,
    }
    if name == "llama":
        return transformers.LlamaConfig(num_key_value_heads=2, **sizes)
    if name in ("qwen2", "gram"):
        return transformers.Qwen2Config(num_key_value_heads=2, **sizes)
    if name in ("mistral", "gram-sliding"):
        return transformers.MistralConfig(num_key_value_heads=2, sliding_window=8, **sizes)
    if name == "neox":
        return transformers.GPTNeoXConfig(**sizes)
    assert name == "gpt2"
    return transformers.GPT2Config(n_positions=_CONTEXT, n_embd=32, n_layer=2, n_head=4, **small)


def _random_model(name: str) -> RealModel:
    """A model with random weights that likes tokens of several letters, and its END a little."""
    definition = DEFINITIONS[name]
    vocabulary = fake_vocabulary(name, definition)
    stop = max(vocabulary.stop_ids)
    if name == "gram-sliding":  # <unk> ends its texts, too
        num_logits = len(vocabulary.token_bytes)
        vocabulary = read_member_vocabulary(name, definition, {0, stop}, num_logits)
    torch.manual_seed(_SEED + RANDOM.index(name))
    config = _config(name, len(vocabulary.token_bytes), stop)
    model = transformers.AutoModelForCausalLM.from_config(config).requires_grad_(False)
    first_liked = 257 if "gram" in name else 256
    head = model.get_output_embeddings().weight
    head[first_liked : stop + 1] *= 2.5
    head[0] *= 2.5 if 0 in vocabulary.stop_ids else 1.0
    prompts = PromptEncoder(definition, vocabulary)
    return RealModel(name, as_loaded(model, name), vocabulary, prompts, "gram" in name)


def _trained_model(name: str) -> RealModel:
    folder = str(FOLDERS[name])
    tokenizer = load_member_tokenizer(name, folder)
    loaded = load_model(ModelSpec(folder, dtype="float32", device="cpu"))
    return RealModel(
        name, loaded, tokenizer.vocabulary, tokenizer.prompts, tokenizer.leads, tokenizer
    )


@cache
def real_model(name: str) -> RealModel:
    """One of `RANDOM` or `TRAINED`, always the same object."""
    torch.set_num_threads(1)
    return _trained_model(name) if name in FOLDERS else _random_model(name)


@contextmanager
def real_ensemble(
    models: Iterable[RealModel] | Mapping[str, RealModel],
    *,
    weights: Mapping[str, float] | None = None,
    rule: Rule = "canonical",
    max_kv_tokens: int = 40_000,
    max_sequences: int = 64,
    row_size: int = ROW_SIZE,
) -> Iterator[Ensemble]:
    """An ensemble of these models in this order, on threads of this process."""
    by_name = models if isinstance(models, Mapping) else {model.name: model for model in models}
    vocabularies = {n: replace(model.vocabulary, name=n) for n, model in by_name.items()}
    leading = frozenset(name for name, model in by_name.items() if model.leads)
    union = build_union(list(vocabularies.values()), leading)
    members = {}
    for name, model in by_name.items():
        runner = ModelRunner(
            model.loaded,
            max_tokens=max_kv_tokens,
            max_sequences=max_sequences,
            cache_use=model.cache_use,
        )
        host = fake_host(vocabularies[name], runner, union, row_size)
        loaded = model.loaded
        facts = MemberFacts(
            loaded.num_logits, loaded.max_length, max_kv_tokens, "cpu", "float32", 0.0
        )
        members[name] = LocalMember(name, host, facts)
    shares = weights or dict.fromkeys(by_name, 1.0 / len(by_name))
    try:
        yield Ensemble(members, vocabularies, union, shares, rule)
    finally:
        for member in members.values():
            member.close()
