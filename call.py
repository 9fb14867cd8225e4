"""Ask a running GaC server one question: each member alone, then all together, and what differs.

Needs nothing but Python.  Where a member's own answer differs from the common one, it shows the
first token that differs, and which tokens each member held to be likely there.
"""

import argparse
import codecs
import http.client
import json
import os
import sys
import textwrap
import urllib.error
import urllib.request

QUESTION = "What is the capital of Norway?"
URL = "http://127.0.0.1:8000"
TOGETHER = "together"
MOST_TOKENS = 64
MOST_SHOWN = 3
MOST_BEFORE = 40
GREEN, RED, BOLD = "32", "31", "1"


class NoAnswer(Exception):
    """There is no server, or it refused."""


def generate(url: str, question: str, **fields: object) -> dict:
    """POST a question to /api/generate and return the answer."""
    body = {
        "messages_list": [[{"role": "user", "content": question}]],
        "max_new_tokens": MOST_TOKENS,
        "apply_chat_template": True,
        **fields,
    }
    request = urllib.request.Request(
        url + "/api/generate",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NoAnswer(f"the server refused: {refusal(error)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(f"no GaC server at {url}: {getattr(error, 'reason', error)}") from error


def refusal(error: urllib.error.HTTPError) -> str:
    """Why a request was refused; a server of another kind may say it in another way."""
    try:
        return json.load(error)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return f"{error.code} {error.reason}"


def first_difference(own: dict, together: dict) -> int | None:
    """The place of the first common token that the member alone did not write, if there is one.

    A text that was cut off at the limit differs from no longer one that begins with it.
    """
    text = own["response"][0].strip()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    written = ""
    trace = together["trace"][0]
    for place, token in enumerate(trace["tokens"]):
        written = (written + decoder.decode(bytes(token["bytes"]))).lstrip()
        if not text.startswith(written.rstrip()):
            was_cut = own["finish_reasons"] == ["length"] and written.startswith(text)
            return None if was_cut else place
    went_on = len(text) > len(written.rstrip())
    return len(trace["tokens"]) if went_on and trace["end"] else None


def paint(text: str, *codes: str) -> str:
    """Coloured on a terminal (or where FORCE_COLOR is set), plain elsewhere."""
    wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if not codes or not (wanted or os.environ.get("FORCE_COLOR")):
        return text
    return f"\033[{';'.join(codes)}m{text}\033[0m"


def printable(text: str) -> str:
    """Without what would steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def plain(text: str) -> str:
    """On one line."""
    return printable(" ".join(text.split()))


def print_answer(name: str, width: int, text: str, *codes: str) -> None:
    """A name, and the text beside it."""
    lines = textwrap.wrap(plain(text), 96 - width, break_long_words=False) or ["(nothing)"]
    for line in lines:
        print(f"  {name:{width}}  {paint(line, *codes)}", flush=True)
        name = ""


def quoted(before: str) -> str:
    """The end of what stands before a token."""
    cut = before if len(before) <= MOST_BEFORE else "..." + before[-MOST_BEFORE:]
    return printable(json.dumps(cut, ensure_ascii=False))


def spelled(candidate: dict) -> str:
    """A token in quotes, so that its spaces show; only END has no bytes."""
    text = json.dumps(candidate["text"], ensure_ascii=False)
    return printable(text) if candidate["bytes"] else "END"


def said(candidates: list[dict], key: str, token: dict) -> list[tuple[str, bool]]:
    """The likeliest tokens, and for each whether it is the one that was written."""
    return [
        (f"{spelled(one)} {one[key]:.2f}", one["bytes"] == token["bytes"])
        for one in candidates[:MOST_SHOWN]
    ]


def verdict(record: dict) -> str:
    """What a verifier (strategy `safe`) found of a drafted token."""
    if record["agrees"] is None:
        return "has no token that starts here"
    found = "would write the same" if record["agrees"] else "would write another token"
    return f"{found} ({record['probability']:.2f})"


def token_rows(token: dict) -> list[tuple[str, list[tuple[str, bool]]]]:
    """What each member that was asked, and all together, held to be likely."""
    rows = [(one["member"], said(one["top"], "probability", token)) for one in token["members"]]
    heard = {name for name, _ in rows}
    verdicts = [one for one in token["verdicts"] if one["member"] not in heard]
    rows += [(one["member"], [(verdict(one), False)]) for one in verdicts]
    return [*rows, (TOGETHER, said(token["combined"], "value", token))]


def print_token(token: dict, place: int, before: str, differing: list[str], width: int) -> None:
    """The rows of one token in columns."""
    names = " and ".join(", ".join(differing).rsplit(", ", 1))
    where = f", after {quoted(before)}" if before else ""
    verb = "writes" if len(differing) == 1 else "write"
    print(f"\nAt token {place + 1}{where}, {names} alone {verb} something else.")
    print("Most likely next tokens there, and their probabilities:\n")
    rows = token_rows(token)
    cells = [len(text) for _, row in rows for text, _ in row if len(row) > 1]
    column = max(cells, default=0)
    for name, row in rows:
        shown = [paint(f"{text:{column}}", *([GREEN] if its else [])) for text, its in row]
        print(f"  {name:{width}}  {'  '.join(shown)}".rstrip())


def print_differences(places: dict[str, int | None], trace: dict, width: int) -> None:
    """One block for each token at which members' own answers part from the common one."""
    records = [*trace["tokens"], trace["end"]]
    differing = sorted({place for place in places.values() if place is not None})
    if not differing:
        print("\nEach member alone writes the same.")
    for place in differing[:MOST_SHOWN]:
        before = "".join(token["text"] for token in records[:place]).lstrip()
        names = [name for name, its in places.items() if its == place]
        print_token(records[place], place, before, names, width)


def show(url: str, question: str) -> None:
    """Ask, and print what comes back as it comes."""
    together = generate(url, question, trace=MOST_SHOWN)
    [trace] = together["trace"]
    print(paint(plain(question), BOLD) + "\n", flush=True)
    width = max(map(len, [*trace["members"], TOGETHER]))
    places = {}
    for name in trace["members"]:
        own = generate(url, question, members=[name])
        places[name] = first_difference(own, together)
        print_answer(name, width, own["response"][0], *([] if places[name] is None else [RED]))
    print_answer(TOGETHER, width, together["response"][0], GREEN, BOLD)
    print_differences(places, trace, width)


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("question", nargs="?", default=QUESTION, help=f"default: {QUESTION}")
    parser.add_argument("--url", default=URL, help=f"where the server listens; default: {URL}")
    found = parser.parse_args()
    if found.question.startswith(("http://", "https://")):
        parser.error("give the address of the server with --url")
    found.url = found.url.rstrip("/") if "://" in found.url else f"http://{found.url}".rstrip("/")
    return found


def main() -> int:
    """Exit code 1 where there is no answer."""
    wanted = arguments()
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        show(wanted.url, wanted.question)
    except NoAnswer as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LookupError, TypeError) as error:
        print(f"{wanted.url} is no GaC server: its answer lacks {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
