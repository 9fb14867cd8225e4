"""Word games: opposites, letters, plurals, rhymes, reversal; knows nothing of who plays them."""

from __future__ import annotations

from demo.relation import Relation, pairs

WORDS: tuple[str, ...] = (
    "apple",
    "bread",
    "cat",
    "dog",
    "egg",
    "fox",
    "garden",
    "house",
    "island",
    "jam",
    "king",
    "lamp",
    "moon",
    "night",
    "ocean",
    "pen",
    "queen",
    "river",
    "sun",
    "table",
    "uncle",
    "violin",
    "water",
    "yard",
    "zebra",
    "hat",
    "music",
    "stone",
)
SHORT: tuple[str, ...] = (
    "cat",
    "dog",
    "sun",
    "pen",
    "hat",
    "jam",
    "fox",
    "bus",
    "map",
    "net",
    "cup",
    "bag",
    "leg",
    "box",
    "ten",
    "tip",
    "rat",
    "pot",
    "god",
    "war",
)

OPPOSITE = Relation(
    "opposite",
    "opposites",
    pairs("""
        hot=cold, big=small, up=down, day=night, fast=slow, old=young, happy=sad, rich=poor
        open=closed, hard=soft, light=dark, long=short, full=empty, wet=dry, strong=weak
        high=low, good=bad, early=late, left=right, clean=dirty, loud=quiet, brave=afraid
        first=last, near=far, true=false, thick=thin, sweet=sour, war=peace
    """),
    (
        "What is the opposite of {x}?",
        "Tell me the opposite of {x}.",
        "{x} is the opposite of what?",
        "Which word is the opposite of {x}?",
        "Name the opposite of {x}.",
        "Say the opposite of {x}.",
        "Give the opposite of {x}.",
    ),
    "Can you name the opposite of {x}?",
    "Which word means the opposite of {x}?",
    "The opposite of {x} is {y}.",
)

FIRST = Relation(
    "first letter",
    "words",
    tuple((word, word[0].upper()) for word in WORDS),
    (
        "What is the first letter of {x}?",
        "Which letter comes first in {x}?",
        "Tell me the first letter of {x}.",
        "With which letter does {x} begin?",
        "Name the first letter of the word {x}.",
        "The word {x} begins with what letter?",
        "What letter does {x} start with?",
    ),
    "Can you tell me the first letter of the word {x}?",
    "Which letter does the word {x} begin with?",
    "The first letter of {x} is {y}.",
)

LAST = Relation(
    "last letter",
    "words",
    tuple((word, word[-1].upper()) for word in WORDS),
    (
        "What is the last letter of {x}?",
        "Which letter comes last in {x}?",
        "Tell me the last letter of {x}.",
        "With which letter does {x} end?",
        "Name the last letter of the word {x}.",
        "The word {x} ends with what letter?",
        "What letter does {x} end with?",
    ),
    "Can you tell me the last letter of the word {x}?",
    "Which letter does the word {x} end with?",
    "The last letter of {x} is {y}.",
)

LENGTH = Relation(
    "length",
    "words",
    tuple((word, str(len(word))) for word in WORDS),
    (
        "How many letters are in {x}?",
        "How many letters does {x} have?",
        "Tell me how many letters {x} has.",
        "What number of letters does {x} have?",
        "Count the letters in {x}.",
        "How long is the word {x}?",
        "The word {x} has how many letters?",
    ),
    "Can you count the letters of {x}?",
    "How many letters are there in the word {x}?",
    "The word {x} has {y} letters.",
)

PLURAL = Relation(
    "plural",
    "words",
    pairs("""
        cat=cats, fox=foxes, mouse=mice, goose=geese, child=children, foot=feet, tooth=teeth
        leaf=leaves, box=boxes, city=cities, man=men, knife=knives, house=houses
        baby=babies, wolf=wolves, bus=buses, tree=trees, king=kings, ox=oxen, woman=women
    """),
    (
        "What is the plural of {x}?",
        "Tell me the plural of {x}.",
        "One {x}, two what?",
        "Which word is the plural of {x}?",
        "Name the plural of the word {x}.",
        "How do you say more than one {x}?",
        "Give the plural of {x}.",
    ),
    "Can you name the plural of {x}?",
    "What is the plural form of the word {x}?",
    "The plural of {x} is {y}.",
)

REVERSE = Relation(
    "reverse",
    "words",
    tuple((word, word[::-1]) for word in SHORT),
    (
        "What is {x} backwards?",
        "Tell me {x} backwards.",
        "How do you write {x} backwards?",
        "Spell {x} backwards.",
        "Read the word {x} backwards.",
        "Turn the word {x} around.",
        "What is the word {x} in reverse?",
    ),
    "Can you write the word {x} backwards?",
    "Give me the word {x} backwards.",
    "{x} backwards is {y}.",
)

RHYME = Relation(
    "rhyme",
    "words",
    pairs("""
        cat=hat, moon=spoon, house=mouse, tree=bee, night=light, dog=frog, cake=lake, star=car
        king=ring, boat=goat, ball=wall, sand=hand, rain=train, book=cook, bear=chair, red=bed
    """),
    (
        "What rhymes with {x}?",
        "Which word rhymes with {x}?",
        "Tell me a rhyme for {x}.",
        "Name a word that rhymes with {x}.",
        "Find a rhyme for {x}.",
        "{x} rhymes with what?",
        "Give me a rhyme for the word {x}.",
    ),
    "Can you find a word that rhymes with {x}?",
    "Which word is a rhyme for {x}?",
    "{x} rhymes with {y}.",
)

WORD_GAMES: tuple[Relation, ...] = (OPPOSITE, FIRST, LAST, LENGTH, PLURAL, REVERSE, RHYME)
