"""What a chat template writes of itself, found by rendering short conversations.

Templates are programs, so their added tokens are not read from their source but from what they
write around known words.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from gac.vocabulary.added_tokens import TemplateTokens, paired, pattern_of, without_plain

Conversation = Sequence[Mapping[str, str]]
Render = Callable[[Conversation, bool], str]
"""A conversation, and whether the assistant's turn is to be opened, to text."""

ANSWER = "Paris"
_SYSTEM, _QUESTION, _NEXT, _THOUGHT = "Okapi", "Zebra", "Quagga", "Tapir"
_ASKED = [{"role": "user", "content": _QUESTION}]
_SAID = {"role": "assistant", "content": ANSWER}
_THINKING = {**_SAID, "thinking": _THOUGHT, "reasoning_content": _THOUGHT}
"""The two names under which templates look for a model's reasoning."""
_TALK = [*_ASKED, _SAID, {"role": "user", "content": _NEXT}]


@dataclass(frozen=True)
class Probe:
    """Short conversations as a template renders them; None where it refuses one.

    `bare` is a question, `asked` the same with the assistant's turn opened, `told` a question and
    an answer, `thought` the same with reasoning, `talk` a longer conversation that goes on.
    """

    bare: str | None
    asked: str | None
    told: str | None
    thought: str | None
    talk: str | None
    error: Exception | None
    """Why the template refuses `asked` or `told`."""


NOTHING = Probe(None, None, None, None, None, None)
"""What a tokenizer without a template writes."""


def probe(render: Render) -> Probe:
    """Render the conversations."""
    errors: list[Exception] = []

    def attempt(conversation: Conversation, opened: bool) -> str | None:
        try:
            return render(conversation, opened)
        except Exception as error:  # a template may raise anything
            errors.append(error)
            return None

    asked, told = attempt(_ASKED, True), attempt([*_ASKED, _SAID], False)
    error = errors[0] if errors else None
    system = {"role": "system", "content": _SYSTEM}
    return Probe(
        bare=attempt(_ASKED, False),
        asked=asked,
        told=told,
        thought=attempt([*_ASKED, _THINKING], False),
        talk=attempt([system, *_TALK], True) or attempt(_TALK, True),
        error=error,
    )


def template_tokens(found: Probe, added: Mapping[int, str]) -> TemplateTokens:
    """Which added tokens a template writes around what people say, and which inside the answer.

    A pair such as `<think>` and `</think>` is no structure if it only stands in front of the
    answer: some templates open or close the reasoning themselves.
    """
    named = {text: token_id for token_id, text in without_plain(added).items()}
    splitter = re.compile(f"({pattern_of(named)})")
    in_turn = _tokens_in_turn(found, splitter)
    pairs, structure = paired(named), set[str]()
    for rendered in filter(None, (found.asked, found.told, found.talk)):
        for segment, leads_to_answer in _segments(rendered):
            tokens = set(splitter.findall(segment))
            structure |= tokens - pairs if leads_to_answer else tokens
    return TemplateTokens(
        frozenset(named[text] for text in structure), frozenset(named[text] for text in in_turn)
    )


def end_of_turn(found: Probe, added: Mapping[int, str]) -> int | None:
    """The added token that the template writes after an answer, if it writes one."""
    if not found.told or ANSWER not in found.told:
        return None
    after = found.told.rpartition(ANSWER)[2].lstrip()
    ids = {text: token_id for token_id, text in without_plain(added).items()}
    match = re.match(pattern_of(ids), after)
    return ids[match.group()] if match else None


def _segments(rendered: str) -> Iterator[tuple[str, bool]]:
    """The text cut behind each known word, and whether the assistant speaks after it."""
    before, rest = "", rendered
    for word in (_QUESTION, ANSWER, _NEXT):
        segment, found, remainder = rest.partition(word)
        if found:
            yield segment, before in (_QUESTION, _NEXT)
            before, rest = word, remainder
    yield rest, before in (_QUESTION, _NEXT)


def _tokens_in_turn(found: Probe, splitter: re.Pattern[str]) -> set[str]:
    """The added tokens between where the model begins to write and its answer.

    The model begins where the opened turn and a finished one part.  Nothing is known of templates
    that cannot open the assistant's turn.
    """
    asked, told = found.asked, found.thought or found.told
    if not asked or not told or asked == found.bare:
        return set()
    opened, finished = splitter.split(asked), splitter.split(told.rpartition(ANSWER)[0])
    num_equal = _num_equal(opened, finished)
    if _QUESTION not in "".join(opened[:num_equal]):
        return set()
    return {part for part in finished[num_equal:] if splitter.fullmatch(part)}


def _num_equal(left: Iterable[str], right: Iterable[str]) -> int:
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
