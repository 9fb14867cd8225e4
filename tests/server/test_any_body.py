"""Any JSON at all gets an answer or the one error body, and never a status of 5xx."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.bodies import ANYTHING, EDGES, MEMBERS, WORDS, mostly
from tests.support.client import generate
from tests.support.examples import examples

MESSAGES = st.fixed_dictionaries(
    {"role": mostly(st.sampled_from(["user", "assistant", "</s>"])), "content": mostly(WORDS)}
)
BODIES = st.fixed_dictionaries(
    {
        "messages_list": mostly(
            st.lists(st.lists(MESSAGES, min_size=1, max_size=3), min_size=1, max_size=3)
        ),
        "max_new_tokens": mostly(st.integers(3, 8)),
    },
    optional={
        "max_length": mostly(st.sampled_from([None, 100, 10**30])),
        "min_new_tokens": mostly(st.integers(0, 3)),
        "apply_chat_template": mostly(st.booleans()),
        "until": mostly(st.one_of(WORDS, st.lists(WORDS, max_size=3))),
        "temperature": mostly(st.sampled_from([*EDGES, 100, 1])),
        "top_k": mostly(st.sampled_from([0, 1, 5, 10**5, 10**30])),
        "top_p": mostly(st.sampled_from(EDGES[1:])),
        "min_p": mostly(st.sampled_from(EDGES)),
        "seed": mostly(st.one_of(st.none(), st.integers(-(2**63), 2**64 - 1))),
        "ignore_eos": mostly(st.booleans()),
        "strategy": mostly(st.sampled_from([None, "every_step", "threshold", {"name": "mixture"}])),
        "threshold": mostly(st.sampled_from([None, *EDGES])),
        "weights": mostly(st.dictionaries(MEMBERS, st.sampled_from(EDGES), max_size=2)),
        "aggregation": mostly(st.sampled_from(["min", "core", {"name": "unite", "top_k": 2}])),
        "members": mostly(st.lists(MEMBERS, max_size=2)),
        "trace": mostly(st.sampled_from([None, False, True, 1, 20])),
    },
)


@examples(400)
@given(body=st.one_of(BODIES, BODIES, ANYTHING))
def test_any_json_is_answered_or_refused(url: str, body: Any) -> None:
    answer = generate(url, body)
    if answer.status == 200:
        assert len(answer.body["response"]) == len(body["messages_list"])
    else:
        assert answer.status == 400, (answer, json.dumps(body))
        assert answer.error["message"]


@examples(100)
@given(body=st.binary(max_size=30))
def test_any_bytes_are_refused(url: str, body: bytes) -> None:
    answer = generate(url, body)
    assert answer.status == 400
    assert answer.error["message"]


def test_both_outcomes_are_reached(url: str) -> None:
    """Guards the strategy above: it must not be refused throughout."""
    statuses: set[int] = set()

    @examples(60)
    @given(body=BODIES)
    def send(body: Any) -> None:
        statuses.add(generate(url, body).status)

    send()
    assert statuses == {200, 400}
