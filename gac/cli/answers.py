"""Answers on a terminal: each member's own, then the common one with who wrote each token.

Colours on a terminal; plain text elsewhere, and where NO_COLOR is set.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gac.core import Event, FinishEvent, TokenEvent
from gac.trace import TokenTrace

TOGETHER = "together"
SEVERAL = "several"
_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
_MOST_LISTED = 10
"""So many tokens that members disagreed about are listed."""


class Display:
    """Prints the answers to one question."""

    def __init__(self, members: Sequence[str]) -> None:
        self._members = members
        self._styles = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(members)}
        self._styles[SEVERAL] = "bold"
        self._indent = 2 + max(len(name) for name in (*members, TOGETHER))
        is_plain = bool(os.environ.get("NO_COLOR"))
        self._console = Console(highlight=False, color_system=None if is_plain else "auto")
        self._at_start = True
        self._wrote: Counter[str] = Counter()
        self._disputed: list[Text] = []

    def own_answer(self, name: str, text: str) -> None:
        """Print what a member writes by itself."""
        self._begin(name)
        self._piece(text.strip(), "")
        self._print(Text("\n"))

    def begin(self) -> None:
        """The common answer begins."""
        self._begin(TOGETHER)

    def take(self, event: Event) -> None:
        """Print what an event of the common answer tells.  Raises: what it failed with."""
        if isinstance(event, TokenEvent):
            self._token(event)
        elif isinstance(event, FinishEvent):
            self._end(event)
        else:
            self._print(Text("\n"))
            raise event.error

    def _token(self, event: TokenEvent) -> None:
        """Print a token in the colour of who wrote it."""
        owners = event.pick.owners
        owner = owners[0] if len(owners) == 1 else SEVERAL
        self._wrote[owner] += 1
        is_disputed = self._note(event.token_bytes, event.trace)
        self._piece(event.text, f"{self._styles[owner]}{' underline' * is_disputed}")

    def _end(self, event: FinishEvent) -> None:
        """Print the rest of the answer, who wrote it, and where members disagreed."""
        self._piece(event.text.rstrip(), "")
        self._note(b"", event.trace)
        self._print(Text("\n"))
        if len(self._members) > 1:
            self._print(self._legend())
            for line in self._disputed[:_MOST_LISTED]:
                self._print(line)
            if (more := len(self._disputed) - _MOST_LISTED) > 0:
                self._print(Text(f"  and {more} more\n"))

    def _begin(self, name: str) -> None:
        self._at_start = True
        self._print(Text(f"{name:{self._indent}}", self._styles.get(name, "bold")))

    def _piece(self, text: str, style: str) -> None:
        if self._at_start:
            text = text.lstrip()
            self._at_start = not text
        self._print(Text(_printable(text).replace("\n", "\n" + " " * self._indent), style))

    def _print(self, text: Text) -> None:
        self._console.print(text, end="", soft_wrap=True)

    def _note(self, token: bytes, trace: TokenTrace | None) -> bool:
        """Keep what members would have written in place of a token; whether any differs."""
        if trace is None:
            return False
        said = [(m.member, m.top[0].token, m.top[0].probability) for m in trace.members]
        others = [v.member for v in trace.verdicts if v.agrees is False]
        if not others and all(favourite == token for _, favourite, _ in said):
            return False
        line = Text(f"  {_spelled(token)} is written;")
        for member, favourite, probability in said:
            line.append(f"  {member}", self._styles[member])
            line.append(f" {_spelled(favourite)} {probability:.2f}")
        for member in others:
            if member not in {name for name, _, _ in said}:
                line.append(f"  {member}", self._styles[member])
                line.append(" another token")
        self._disputed.append(line.append("\n"))
        return True

    def _legend(self) -> Text:
        legend = Text("\nWho wrote the tokens: ")
        counts = ((name, self._wrote[name]) for name in (*self._members, SEVERAL))
        shown = [Text(f"{name} {count}", self._styles[name]) for name, count in counts if count]
        legend.append(Text(", ").join(shown)).append(".")
        if self._disputed:
            legend.append("  Where members disagree, each one's likeliest token")
            legend.append(" (underlined above)" if self._console.color_system else "").append(":")
        return legend.append("\n")


def _spelled(token: bytes) -> str:
    """A token in quotes, so that its spaces show; only END has no bytes."""
    if not token:
        return "END"
    return _printable(json.dumps(token.decode("utf-8", "replace"), ensure_ascii=False))


def _printable(text: str) -> str:
    """Without what would steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
