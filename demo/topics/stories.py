"""Writes two- or three-sentence stories from a small grammar; tells no story from outside."""

from __future__ import annotations

import random

HEROES = (
    "fox",
    "bear",
    "mouse",
    "cat",
    "dog",
    "frog",
    "king",
    "queen",
    "girl",
    "boy",
    "sailor",
    "farmer",
    "owl",
    "rabbit",
    "horse",
    "duck",
)
_NAMES = ("Robin", "Max", "Kim", "Sam", "Alex", "Toni", "Noa", "Charlie")
_PLACES = ("the forest", "a small town", "a big house", "the mountains", "an old castle", "a farm")
_FINDS = ("a golden key", "a red ball", "a lost bird", "a little boat", "an old map", "a warm coat")
_FRIENDS = ("a friendly owl", "a small turtle", "a wise old man", "a tiny bee", "a happy child")
_ENDS = (
    "They became friends and were happy.",
    "Then everybody went home and slept well.",
    "From that day on, they played together.",
    "In the evening they ate cake and laughed.",
    "It was the best day of the year.",
)
_ASKS = (
    "Tell me a story about a {x}.",
    "Tell me a short story about a {x}.",
    "Write a story about a {x}.",
    "Can you tell a story about a {x}?",
    "I want to hear a story about a {x}.",
    "A story about a {x}, please.",
)
_ASKS_OF_ANY = ("Tell me a story.", "Write a short story.", "Can you tell me a story?")


def story_about(hero: str, rng: random.Random) -> str:
    """A short story about one hero."""
    name, place = rng.choice(_NAMES), rng.choice(_PLACES)
    opening = f"Once there was a {hero} named {name} who lived in {place}."
    find = f"One day {name} found {rng.choice(_FINDS)}."
    meet = f"On the way {name} met {rng.choice(_FRIENDS)}."
    middle = rng.choice((find, meet, f"{find} {meet}"))
    return f"{opening} {middle} {rng.choice(_ENDS)}"


def story_exchange(rng: random.Random) -> tuple[str, str]:
    """A request for a story and the story."""
    hero = rng.choice(HEROES)
    asks = _ASKS if rng.random() < 0.8 else _ASKS_OF_ANY
    return rng.choice(asks).replace("{x}", hero), story_about(hero, rng)
