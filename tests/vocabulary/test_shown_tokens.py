"""Which tokens are visible, at every cut of torn characters and stop strings."""

from hypothesis import example, given

from gac.vocabulary.detokenizer import TextStream
from gac.vocabulary.shown_tokens import ShownTokens
from tests.support.examples import examples
from tests.vocabulary.test_detokenizer import BYTES, CUTS, STOPS, cut


def bytes_behind(text: bytes, num_characters: int) -> int:
    """So many bytes are needed for these characters: the fewest that can have no other beginning.

    Of a character that is not whole the next byte decides, so it is found by leaving bytes out.
    """
    whole = text.decode(errors="replace")
    starts, at = [], 0
    while at < len(text):
        starts.append(at)
        for size in range(1, 5):
            piece = text[at : at + size]
            try:
                piece.decode()
            except UnicodeDecodeError as error:
                if error.reason != "unexpected end of data" or at + size > len(text):
                    at += error.end - error.start
                    break
                if at + size == len(text):
                    at += size
                    break
            else:
                at += size
                break
    starts.append(len(text))
    assert len(starts) == len(whole) + 1
    return starts[num_characters]


@examples(600)
@given(BYTES, CUTS, STOPS)
@example(b"abcd", [1, 2, 3], ["bc"])
@example(b"abcd", [1, 3], ["c"])
@example(b"a\xf0\x9f\x91\x8db", [2, 3, 4], [])
@example(b"\xe0\x80\xf4\x90a", [1, 2, 3, 4], [])
@example(b"a\xf0\x9f", [2], ["\ufffd"])
def test_shown_tokens_are_those_whose_bytes_are_visible(text: bytes, places, stops) -> None:
    stream, shown, seen, tokens = TextStream(stops), ShownTokens(), 0, []
    for piece in filter(None, cut(text, places)):
        visible = stream.push(piece)
        seen += len(visible)
        tokens.append(piece)
        count = shown.push(piece, len(visible))
        ends = [len(b"".join(tokens[: n + 1])) for n in range(len(tokens))]
        # Only what is certain by now is visible, so later bytes do not move its borders.
        limit = bytes_behind(text, seen)
        assert count == sum(end <= limit for end in ends)
        if stream.stopped:
            break
    visible = stream.flush()
    seen += len(visible)
    count = shown.finish(len(visible), stream.stopped)
    starts = [len(b"".join(tokens[:n])) for n in range(len(tokens))]
    limit = bytes_behind(text, seen)
    assert count == (sum(start < limit for start in starts) if stream.stopped else len(tokens))
    said = b"".join(tokens[:count])
    assert said.decode(errors="replace")[:seen] == text.decode(errors="replace")[:seen]


def test_a_stop_string_hides_the_tokens_behind_it() -> None:
    def counts(tokens: list[bytes], stop: str) -> list[int]:
        stream, shown = TextStream([stop]), ShownTokens()
        given = [shown.push(token, len(stream.push(token))) for token in tokens]
        return [*given, shown.finish(len(stream.flush()), stream.stopped)]

    assert counts([b"one", b" ST", b"OP"], "STOP") == [1, 1, 1, 2]
    assert counts([b"one", b"ST", b"OP"], "STOP") == [1, 1, 1, 1]
    assert counts([b"one", b"ST", b"AR"], "STOP") == [1, 1, 3, 3]
    assert counts([b"\xf0\x9f", b"\x91\x8d"], "STOP") == [0, 2, 2]
