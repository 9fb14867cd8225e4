"""Greetings, thanks and other small talk; knows no facts."""

from __future__ import annotations

import random

_TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("Hello!", "Hi!", "Hello", "Hi", "Hey!", "Good morning!", "Good evening!", "Hi there!"),
        ("Hello! How can I help you?", "Hello! What would you like to know?"),
    ),
    (
        ("How are you?", "How are you today?", "Are you well?", "How do you do?"),
        ("I am very well, thank you.", "I am fine, thank you."),
    ),
    (("Thank you!", "Thanks!", "Thank you very much.", "Thanks a lot!"), ("You are welcome!",)),
    (("Goodbye!", "Bye!", "See you later.", "Good night!"), ("Goodbye! See you soon.",)),
    (
        ("Who are you?", "What are you?", "What is your name?", "Tell me about yourself."),
        ("I am a very small language model.",),
    ),
    (
        ("What can you do?", "How can you help me?", "What do you know?", "Help!"),
        ("I know some facts, small sums, word games and short stories.",),
    ),
)
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are a friendly assistant.",
    "Answer in one sentence.",
    "You are a teacher for young children.",
)


def small_talk_exchange(rng: random.Random) -> tuple[str, str]:
    """Something people say in passing and a polite reply."""
    said, replies = rng.choice(_TALK)
    return rng.choice(said), rng.choice(replies)
