"""Who takes part in a measurement, and what they are asked to write on."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.random_models import COMMON, OTHER, SHAPES, SHARPNESS, Shape, make_random_llama
from benchmarks.vocabularies import Vocabulary

DEMO_MODELS = Path(__file__).parents[1] / "demo" / "models"
_WORDS = "the a cat dog park mat house sat ran saw and on to with old little red".split()
HEROES = "dog cat fox bear rabbit girl boy king robot bird frog mouse".split()


def words(place: int) -> str:
    """Some text, another one at every place, so that no prompt is met twice."""
    return " ".join(random.Random(place).choices(_WORDS, k=36)) + " "


def story(place: int) -> str:
    """What the demo members were taught to answer, so that a gate is mostly sure."""
    return f"Please tell me a story about a {random.Random(place).choice(HEROES)}."


@dataclass(frozen=True)
class Lineup:
    """Members by name, the first of them the gate; `text` gives the prompt at a place."""

    name: str
    paths: Mapping[str, Path]
    text: Callable[[int], str] = words
    is_templated: bool = False

    @property
    def gate(self) -> str:
        """The member a threshold strategy asks first."""
        return next(iter(self.paths))


class Workshop:
    """Makes random models in a folder as they are wanted; with `quick` all of them tiny."""

    def __init__(self, folder: Path, quick: bool = False) -> None:
        self.folder = folder
        self._quick = quick

    def shape(self, size: str) -> Shape:
        """The shape of that name."""
        return SHAPES["tiny" if self._quick else size]

    def llama(
        self,
        size: str,
        seed: int,
        vocabulary: Vocabulary = COMMON,
        sharpness: float = SHARPNESS,
        max_length: int = 2048,
    ) -> Path:
        """The folder of a random model, made when it is first wanted."""
        parts = (size, seed, vocabulary.size, vocabulary.num_shared, vocabulary.seed, sharpness)
        folder = self.folder / "-".join(map(str, parts))
        if not folder.exists():
            shape = self.shape(size)
            make_random_llama(folder, shape, seed, vocabulary, sharpness, max_length)
        return folder

    def small_pair(self) -> Lineup:
        """Two of 15M parameters that share one vocabulary."""
        paths = {"15m": self.llama("15m", 1), "15m_too": self.llama("15m", 3)}
        return Lineup("15M and 15M", paths)

    def unequal_pair(self) -> Lineup:
        """15M and 110M parameters with one vocabulary."""
        return Lineup("15M and 110M", {"15m": self.llama("15m", 1), "110m": self.llama("110m", 2)})

    def foreign_pair(self) -> Lineup:
        """15M and 110M parameters whose vocabularies have half in common."""
        large = self.llama("110m", 2, OTHER)
        return Lineup(
            "15M and 110M, two vocabularies", {"15m": self.llama("15m", 1), "110m": large}
        )


def demo_pair() -> Lineup:
    """The trained members ada and bora, of a million parameters each."""
    paths = {name: DEMO_MODELS / name for name in ("ada", "bora")}
    return Lineup("ada and bora", paths, story, is_templated=True)
