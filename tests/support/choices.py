"""A server of three members on fakes, and requests that choose how they are written."""

from typing import Any

from tests.support.client import generate, one
from tests.support.fake_service import Fakes, fake_config, fakes_for
from tests.support.trios import DEFINITIONS

TRIO = DEFINITIONS
NAMES = tuple(TRIO)
BASE = one("the cat", max_new_tokens=16)
WARM = {**BASE, "temperature": 1.0, "seed": 4}
GATE = {"name": "threshold", "gate": "bora", "threshold": 0.25}


def trio(**sections: Any) -> Fakes:
    """A server of three members that seldom end by themselves."""
    config = fake_config(NAMES, **sections)
    return fakes_for(config, definitions=TRIO, end_bias=-5.0, max_context=300)


def body_of(url: str, body: Any) -> dict[str, Any]:
    answer = generate(url, body)
    assert answer.status == 200, answer
    return answer.body


def text(url: str, body: Any, **fields: Any) -> str:
    [response] = body_of(url, {**body, **fields})["response"]
    return response


def refusal(url: str, **fields: Any) -> dict[str, Any]:
    answer = generate(url, {**BASE, **fields})
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"
    assert str(answer.error["param"]) in answer.error["message"]
    assert len(answer.error["message"]) < 500
    return answer.error


CHOICES: list[dict[str, Any]] = [
    {},
    {"strategy": GATE},
    {"aggregation": "geometric"},
    {"aggregation": "core", "weights": {"ada": 1, "bora": 2, "cleo": 3}},
    {"strategy": GATE, "threshold": None, "aggregation": "entropy"},
    {"members": ["ada", "bora"]},
    {"members": ["cleo"]},
    {"strategy": "mixture", "temperature": 1.0, "seed": 9},
    {"aggregation": "unite", "temperature": 1.3, "seed": 2},
    {"strategy": {"name": "every_step", "conflict_guard": True, "aggregation": "min"}},
]
