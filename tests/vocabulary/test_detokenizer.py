import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac.vocabulary.detokenizer import TextStream
from tests.support.examples import examples

ALPHABET = "ab\u00e9👍\n"
BYTES = st.one_of(st.text(ALPHABET, max_size=12).map(str.encode), st.binary(max_size=16))
STOPS = st.lists(st.text("ab\u00e9👍\ufffd", min_size=1, max_size=4), max_size=3)
CUTS = st.lists(st.integers(0, 16), max_size=6)


def cut(text: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[a:b] for a, b in zip(borders, borders[1:], strict=False)]


def streamed(pieces: list[bytes], stops: list[str]) -> tuple[list[str], bool]:
    stream, shown = TextStream(stops), []
    for piece in pieces:
        shown.append(stream.push(piece))
    return [*shown, stream.flush()], stream.stopped


def naive(text: str, stops: list[str]) -> tuple[str, bool]:
    """Read character by character; the first stop to be complete counts, then the longest."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


@examples(600)
@given(BYTES, CUTS, STOPS)
@example(b"abcd", [], ["abcd", "bc"])
@example(b"a\xf0\x9f", [1], ["a\ufffd"])
@example(b"\xed\xa0\x80a", [1, 2], [])
@example(b"\xf0\x80\xf4\x90a", [1, 2, 3], [])
def test_any_cut_shows_what_the_whole_shows(text: bytes, places: list[int], stops) -> None:
    shown, stopped = streamed(cut(text, places), stops)
    assert ("".join(shown), stopped) == naive(text.decode(errors="replace"), stops)


@examples(300)
@given(BYTES, CUTS, STOPS, st.binary(max_size=6))
def test_nothing_is_shown_after_a_stop(text: bytes, places: list[int], stops, more: bytes) -> None:
    stream = TextStream(stops)
    for piece in cut(text, places):
        stream.push(piece)
    if stream.stopped:
        assert stream.push(more) == ""
        assert stream.flush() == ""


@examples(300)
@given(BYTES, CUTS, STOPS)
def test_what_is_held_back_could_become_a_stop(text: bytes, places: list[int], stops) -> None:
    """No character waits without reason: what is hidden begins a stop, or is half a character."""
    stream, shown, read = TextStream(stops), "", b""
    for piece in cut(text, places):
        shown += stream.push(piece)
        read += piece
        if stream.stopped:
            return
        assert len(shown.encode()) <= len(read.decode(errors="replace").encode())
        hidden = read.decode(errors="ignore").removeprefix(shown)
        if shown.isascii() and read.isascii() and hidden:
            assert any(stop.startswith(hidden) for stop in stops)


def test_a_stop_may_lie_across_tokens_or_inside_one() -> None:
    assert streamed([b"one S", b"T", b"OP two"], ["STOP"]) == (["one ", "", "", ""], True)
    assert streamed([b"one STOP two"], ["STOP"]) == (["one ", ""], True)


def test_text_held_back_for_a_stop_is_flushed() -> None:
    assert streamed([b"a ST"], ["STOP"]) == (["a ", "ST"], False)
    assert streamed([b"a ST", b"ART"], ["STOP"]) == (["a ", "START", ""], False)


@pytest.mark.parametrize("place", range(1, len("né 👍".encode())))
def test_half_characters_wait(place: int) -> None:
    text = "né 👍".encode()
    shown, _ = streamed([text[:place], text[place:]], [])
    assert "".join(shown) == "né 👍"
    assert "\ufffd" not in shown[0]


def test_bytes_that_stay_incomplete_show_as_a_replacement() -> None:
    assert streamed([b"a\xf0\x9f\x91"], [])[0] == ["a", "\ufffd"]
