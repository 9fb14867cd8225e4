"""Ask a running GaC server two things and print its answers.  Needs nothing but Python.

Usage: python call.py [URL]        (default: http://127.0.0.1:8000)
"""

import http.client
import json
import sys
import urllib.error
import urllib.request

CONVERSATIONS = [
    [{"role": "user", "content": "What is the capital of Norway?"}],
    [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hello! How can I help you?"},
        {"role": "user", "content": "What is 3 plus 4?"},
    ],
]


def generate(url: str, body: dict) -> dict:
    """POST a body to /api/generate and return the answer."""
    request = urllib.request.Request(
        url + "/api/generate",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def refusal(error: urllib.error.HTTPError) -> str:
    """Why a request was refused; a server that is not ours may say it in another way."""
    try:
        return json.load(error)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return f"{error.code} {error.reason}"


def main() -> int:
    """Print one answer a conversation."""
    url = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000").rstrip("/")
    url = url if "://" in url else f"http://{url}"
    body = {
        "messages_list": CONVERSATIONS,
        "max_new_tokens": 64,
        "apply_chat_template": True,
    }
    try:
        answer = generate(url, body)
    except urllib.error.HTTPError as error:
        print(f"the server refused: {refusal(error)}", file=sys.stderr)
        return 1
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"no GaC server at {url}: {getattr(error, 'reason', error)}", file=sys.stderr)
        return 1
    for conversation, text in zip(CONVERSATIONS, answer["response"], strict=True):
        print("question:", conversation[-1]["content"])
        print("answer:  ", text.strip())
    print(f"{answer['num_tokens']} tokens, {answer['num_tokens_per_sec']:.1f} tokens/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
