"""Longer texts: are their words words, do they repeat themselves, and what are they to an outsider.

Valid words are those of a list.  For the demo's members it is every word of the text their
tokenizers were made from; for others it is what the members themselves write alone, drawn at
temperature 0.7 on other openings, where a word has to occur twice.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.alone import Alone
from benchmarks.lineups import DEMO_MODELS, Lineup
from benchmarks.quality.counting import Cost
from benchmarks.quality.estimates import Estimate, ratio
from benchmarks.quality.methods import Method
from benchmarks.quality.panel import Outcome, Panel, Prompts
from demo.corpus import common_conversations
from demo.topics.stories import HEROES
from gac.core import Prompt
from gac.model.templates import MemberTokenizer
from gac.vocabulary.retokenize import MemberContext

GRAM = 4
CORPUS_CONVERSATIONS = 4000
_SHARED = DEMO_MODELS.parents[2] / "shared" / "models"
_PEOPLE = "Lily Tom Anna Ben Mia Sam Lucy Max Sara Tim Amy Jack".split()
_WISHES = ("a red kite", "a new friend", "a big cake", "to swim", "a small boat", "to sing")
_OPENINGS = (
    "Once upon a time, there was a child named {name} who wanted {wish}.",
    "One day, {name} went to the park. {name} wanted {wish}.",
    "{name} was sad because it rained. But {name} still wanted {wish}.",
)


@dataclass(frozen=True)
class Setting:
    """Members that write longer texts together, their openings, and who may judge each of them."""

    lineup: Lineup
    writers: tuple[str, ...]
    judge_of: Mapping[tuple[str, ...], str]
    opening: Callable[[random.Random], str]


def settings() -> list[Setting]:
    """The demo's pair, judged by the third; the shared pair, each of which judges the other."""
    demo = Lineup("demo", {n: DEMO_MODELS / n for n in ("ada", "bora", "cleo")}, is_templated=True)
    pair = ("ada", "bora")
    found = [Setting(demo, pair, {pair: "cleo", ("ada",): "cleo", ("bora",): "cleo"}, _story)]
    paths = {
        "tinystories-3M": _SHARED / "tinystories-instruct-3M-chat",
        "stories260K": _SHARED / "stories260K",
    }
    if all((path / "config.json").exists() for path in paths.values()):
        one, other = paths
        judges: dict[tuple[str, ...], str] = {(one,): other, (other,): one}
        found.append(Setting(Lineup("shared", paths), (one, other), judges, _beginning))
    else:
        print(f"  left out: no models in {_SHARED}")
    return found


def _story(draw: random.Random) -> str:
    return f"Please tell me a story about a {draw.choice(HEROES)}."


def _beginning(draw: random.Random) -> str:
    opening = draw.choice(_OPENINGS).replace("{name}", draw.choice(_PEOPLE))
    return opening.replace("{wish}", draw.choice(_WISHES))


def openings(setting: Setting, count: int, seed: int) -> list[str]:
    """So many different openings."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[setting.opening(draw)] = None
    return list(found)


def prompts_for(panel: Panel, setting: Setting, texts: Iterable[str]) -> list[Prompts]:
    """Every member's prompt for every opening."""
    templated = setting.lineup.is_templated
    return [panel.prompts([{"role": "user", "content": text}], templated) for text in texts]


def words(text: str) -> list[str]:
    """The words in lower case, without marks and digits."""
    return re.findall(r"[^\W\d_]+", text.lower())


def demo_words() -> frozenset[str]:
    """Every word of the text that the demo's tokenizers were made from, or of a part of it."""
    turns = (turn for chat in common_conversations(CORPUS_CONVERSATIONS) for turn in chat)
    return frozenset(word for turn in turns for word in words(turn["content"]))


def own_words(texts: Iterable[str]) -> frozenset[str]:
    """The words that occur twice in what members write alone."""
    counts = Counter(word for text in texts for word in words(text))
    return frozenset(word for word, count in counts.items() if count > 1)


def repeated(text: str) -> tuple[int, int]:
    """How many of the text's runs of four words have occurred in it before, and how many it has."""
    found = words(text)
    grams = [tuple(found[n : n + GRAM]) for n in range(len(found) - GRAM + 1)]
    return len(grams) - len(set(grams)), len(grams)


class Judge:
    """A member that did not take part, and reads a text behind its own prompt."""

    def __init__(self, panel: Panel, name: str) -> None:
        self.name = name
        self._model = Alone(panel.paths[name])
        self._tokenizer: MemberTokenizer = panel.tokenizers[name]

    def log_likelihood(self, prompt: Prompt, text: str) -> float:
        """In nats, of the text as the judge's tokenizer has it, END not included."""
        context = MemberContext.start(self._tokenizer.vocabulary, "canonical", prompt)
        context.commit(text.encode(), owned=False)
        own = context.ids[len(prompt.ids) :]
        logits = self._model.logits(context.ids, len(own) + 1)[:-1]
        chosen = logits.log_softmax(-1)[range(len(own)), own]
        return float(chosen.sum())


@dataclass(frozen=True)
class Longer:
    """How some longer texts came out."""

    name: str
    rule: str
    num_words: int
    valid: Estimate
    repeated: Estimate
    judge: str
    nats_per_byte: Estimate | None
    cost: Cost


class Desk:
    """One setting's openings before a panel, and all that is looked at in what it writes."""

    def __init__(
        self,
        panel: Panel,
        setting: Setting,
        texts: Iterable[str],
        known: frozenset[str],
        tokens: int,
    ) -> None:
        self._panel, self._setting, self._known, self._tokens = panel, setting, known, tokens
        self._prompts = prompts_for(panel, setting, texts)
        self._judges = {name: Judge(panel, name) for name in set(setting.judge_of.values())}

    def alone(self, name: str) -> Longer:
        """One member's own texts."""
        outcome = self._panel.alone(name, self._prompts, self._tokens)
        return self._described(f"{name} alone", "own", (name,), outcome)

    def together(self, method: Method) -> Longer:
        """The writers' texts by a method."""
        writers = self._setting.writers
        outcome = self._panel.together(method, writers, self._prompts, self._tokens, seed=0)
        return self._described(method.name, self._panel.rule, writers, outcome)

    def _described(
        self, name: str, rule: str, writers: tuple[str, ...], outcome: Outcome
    ) -> Longer:
        found = [words(text) for text in outcome.texts]
        valid = [sum(word in self._known for word in one) for one in found]
        again = [repeated(text) for text in outcome.texts]
        judge = self._judges.get(self._setting.judge_of.get(writers, ""))
        return Longer(
            name,
            rule,
            sum(map(len, found)),
            ratio(valid, [len(one) for one in found]),
            ratio([some for some, _ in again], [of for _, of in again]),
            judge.name if judge else "-",
            self._judged(judge, outcome.texts) if judge else None,
            outcome.cost,
        )

    def _judged(self, judge: Judge, texts: Sequence[str]) -> Estimate:
        prompts = [prompts[judge.name] for prompts in self._prompts]
        read = [(prompt, text) for prompt, text in zip(prompts, texts, strict=True) if text]
        nats = [judge.log_likelihood(prompt, text) for prompt, text in read]
        return ratio(nats, [len(text.encode()) for _, text in read])
