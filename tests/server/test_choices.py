"""What a request may choose of how its text is written: each choice matters, or is a 400."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.choices import (
    BASE,
    CHOICES,
    GATE,
    NAMES,
    TRIO,
    WARM,
    body_of,
    refusal,
    text,
    trio,
)
from tests.support.client import generate, one
from tests.support.fake_service import Fakes, fake_config, fakes_for, ready


@pytest.fixture(scope="module")
def fakes() -> Fakes:
    return trio()


@pytest.fixture(scope="module")
def url(fakes: Fakes) -> Iterator[str]:
    """All three are asked every step unless a request says otherwise."""
    with ready(fakes) as url:
        yield url


def test_nothing_chosen_is_the_servers_own(url: str) -> None:
    nulls = dict.fromkeys(("strategy", "threshold", "weights", "aggregation", "members"))
    everybody = {"strategy": "every_step", "members": list(NAMES), "aggregation": "arithmetic"}
    equal = {"weights": dict.fromkeys(NAMES, 7)}
    for fields in (nulls, everybody, equal, {"strategy": {"name": "every_step"}}):
        assert text(url, BASE, **fields) == text(url, BASE)


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": GATE},
        {"strategy": "threshold", "threshold": 0.0},
        {"strategy": {"name": "every_step", "aggregation": "geometric"}},
        *({"aggregation": name} for name in ("geometric", "min", "core", "entropy", "replace")),
        {"aggregation": {"name": "replace", "by": "cleo"}},
        {"weights": {"ada": 1, "bora": 0.5, "cleo": 5}},
        {"members": ["ada", "cleo"]},
    ],
    ids=str,
)
def test_choice_changes_the_answer(url: str, fields: dict[str, Any]) -> None:
    long = {**BASE, "max_new_tokens": 80}
    assert text(url, long, **fields) != text(url, long)


def test_unite_leaves_fewer_tokens_to_draw_from(url: str) -> None:
    for top_k in (1, 2):
        united = text(url, WARM, aggregation={"name": "unite", "top_k": top_k})
        assert united != text(url, WARM)
    assert text(url, BASE, aggregation="unite") == text(url, BASE), "the winner is among the best"


def test_mixture_asks_one_member_a_token(url: str) -> None:
    answer = body_of(url, {**WARM, "strategy": "mixture"})
    assert answer["ensembled_token_ratio"] == [0.0]
    assert answer["response"] != [text(url, WARM)]
    assert text(url, WARM, strategy="mixture") == answer["response"][0]
    by_one = {"ada": 1, "bora": 0, "cleo": 0}
    assert text(url, WARM, strategy="mixture", weights=by_one) == text(url, WARM, members=["ada"])


def test_conflict_guard_matters() -> None:
    """Where members like tokens that begin alike, and each another anchor's."""
    fakes = trio()
    for name, runner in fakes.members.runners.items():
        known = fakes.members.ensemble.vocabularies[name].canonical
        alike = [token for token in known if token.startswith(b" ")]
        runner.biases = {**runner.biases, **dict.fromkeys([known[t] for t in alike], 8.0)}
    with ready(fakes) as url:
        guards = [{"name": "every_step", "conflict_guard": g} for g in ("ada", "bora", False, True)]
        by_ada, by_bora, by_nobody, by_first = (text(url, BASE, strategy=guard) for guard in guards)
        assert by_nobody == text(url, BASE)
        assert by_first == by_ada
        assert len({by_ada, by_bora, by_nobody}) == 3


def test_threshold_beside_the_strategy_is_the_one_within(url: str) -> None:
    gate = {"name": "threshold", "gate": "bora"}
    for threshold in (0.0, 0.3, 1.0):
        within = text(url, BASE, strategy={**gate, "threshold": threshold})
        assert text(url, BASE, strategy=gate, threshold=threshold) == within
    assert text(url, BASE, strategy=gate, threshold=1.0) == text(url, BASE)
    assert text(url, BASE, strategy=gate, threshold=0.0) == text(url, BASE, members=["bora"])


def test_threshold_without_a_number_is_the_papers(url: str) -> None:
    """Or that of the file, where the file has one."""
    gate = {"name": "threshold", "gate": "bora"}
    half = text(url, WARM, strategy=gate, threshold=0.5)
    assert text(url, WARM, strategy=gate) == half != text(url, WARM)
    with ready(trio(THRESHOLD_API_SERVER=1.0)) as other:
        assert text(other, WARM, strategy=gate) == text(url, WARM)


def test_threshold_alone_changes_the_servers_own_strategy() -> None:
    with ready(trio(strategy=GATE)) as url:
        assert text(url, BASE, threshold=0.25) == text(url, BASE)
        ratios = [
            body_of(url, {**BASE, "threshold": t})["ensembled_token_ratio"][0] for t in (0.0, 1.0)
        ]
        assert ratios == [0.0, 1.0]


def test_subset_of_one_is_that_member_alone(url: str) -> None:
    """Whatever the strategy; and as on a server that has no other."""
    alone = fake_config(["cleo"])
    definitions = {"cleo": TRIO["cleo"]}
    fakes = fakes_for(
        alone, definitions=definitions, end_bias=-5.0, max_context=300, seeds={"cleo": 2}
    )
    with ready(fakes) as other:
        expected = text(other, BASE), text(other, WARM)
    for strategy in (None, "every_step", "threshold", GATE | {"gate": "cleo"}):
        fields = {"members": ["cleo"], "strategy": strategy}
        assert (text(url, BASE, **fields), text(url, WARM, **fields)) == expected
    assert text(url, WARM, members=["cleo"], strategy="mixture") == expected[1]
    assert text(url, BASE, members=["cleo"], aggregation="core") == expected[0]
    with ready(trio(strategy=GATE)) as gated:
        assert text(gated, BASE, members=["cleo"]) == expected[0], "its gate is left out"
        answer = body_of(gated, {**BASE, "members": ["cleo"]})
    assert set(answer["usage"][0]["prompt_tokens"]) == {"cleo"}
    assert answer["ensembled_token_ratio"] == [0.0]


def test_weights_of_one_and_zero_are_that_member_alone(url: str) -> None:
    weights = {"ada": 0, "bora": 1e300, "cleo": 0}
    for aggregation in ("arithmetic", "geometric", "min", "unite", "entropy", "core"):
        fields = {"weights": weights, "aggregation": aggregation}
        assert text(url, BASE, **fields) == text(url, BASE, members=["bora"])


def test_order_of_members_and_scale_of_weights_change_nothing(url: str) -> None:
    small = {"ada": 0.1, "cleo": 0.4}
    large = {"cleo": 4e307, "ada": 1e307}
    texts = {
        text(url, BASE, members=members, weights=weights, aggregation="geometric")
        for members in (["ada", "cleo"], ["cleo", "ada"])
        for weights in (small, large)
    }
    assert len(texts) == 1


def test_members_left_out_are_told_nothing(url: str, fakes: Fakes) -> None:
    calls = len(fakes.members.runners["bora"].calls)
    text(url, BASE, members=["ada", "cleo"])
    assert len(fakes.members.runners["bora"].calls) == calls


def test_only_chosen_members_need_a_template(url: str) -> None:
    templated = {**BASE, "apply_chat_template": True}
    assert generate(url, templated).error["message"] == "member 'cleo' has no chat template"
    assert generate(url, {**templated, "members": ["ada", "bora"]}).status == 200


def test_different_choices_at_once_write_what_each_writes_alone(url: str) -> None:
    bodies = [
        one("the cat " * (place % 3 + 1), max_new_tokens=12 + place, **CHOICES[place % 10])
        for place in range(20)
    ]
    alone = [text(url, body) for body in bodies]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda body: text(url, body), bodies)) == alone


def test_speculation_changes_no_choice(url: str) -> None:
    with ready(trio(engine={"speculation": {"drafter": "ada", "max_tokens": 4}})) as other:
        for fields in CHOICES:
            assert text(other, BASE, **fields) == text(url, BASE, **fields)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"strategy": "save"}, "strategy", "'every_step', 'threshold', 'safe' or 'mixture'"),
    ({"strategy": 5}, "strategy", "a name or an object"),
    ({"strategy": {"gate": "ada"}}, "strategy", "strategy.name: null is not allowed"),
    ({"strategy": {"name": "threshold", "gat": 1}}, "strategy", "did you mean gate?"),
    ({"strategy": {"name": "threshold", "gate": "x"}}, "strategy", "'ada' or 'bora' or 'cleo'"),
    ({"strategy": {**GATE, "threshold": 2}}, "strategy", "a number from 0 to 1"),
    ({"strategy": {str(n): 1 for n in range(500)}}, "strategy", "500 entries"),
    ({"aggregation": "mean"}, "aggregation", "'entropy' or 'replace'"),
    ({"aggregation": {"name": "unite", "top_k": 0}}, "aggregation", "at least 1"),
    ({"aggregation": {"name": "min", "top_k": 3}}, "aggregation", "known keys: name"),
    ({"aggregation": ["min"]}, "aggregation", "a name or an object"),
    ({"aggregation": {"name": "replace", "by": "x"}}, "aggregation", "'ada' or 'bora' or 'cleo'"),
    ({"threshold": 0.5}, "threshold", "strategy 'every_step' has no threshold"),
    ({"threshold": 0.5, "strategy": "mixture"}, "threshold", "strategy 'mixture' has no threshold"),
    ({"threshold": 1.5, "strategy": "threshold"}, "threshold", "from 0 to 1"),
    ({"threshold": 0.5, "strategy": GATE}, "threshold", "given twice, here and in strategy"),
    (
        {"aggregation": "min", "strategy": {"name": "every_step", "aggregation": "min"}},
        "aggregation",
        "given twice, here and in strategy",
    ),
    ({"members": []}, "members", "at least one of 'ada', 'bora', 'cleo'"),
    (
        {"members": ["ada", "x"]},
        "members",
        "'x' is no member; the members are 'ada', 'bora', 'cleo'",
    ),
    ({"members": ["ada", "ada"]}, "members", "'ada' is listed twice"),
    ({"members": "ada"}, "members", "list"),
    ({"members": ["ada"] * 300}, "members", "300 entries"),
    ({"members": ["ada", "cleo"], "strategy": GATE}, "strategy", "'ada' or 'cleo'"),
    (
        {"members": ["ada", "bora"], "aggregation": {"name": "replace", "by": "cleo"}},
        "aggregation",
        "'ada' or 'bora'",
    ),
    ({"weights": {"x": 1}}, "weights", "'x' is no member; the members are 'ada', 'bora', 'cleo'"),
    ({"weights": {}}, "weights", "no weight for 'ada', 'bora', 'cleo'"),
    ({"weights": {"ada": 1, "bora": 1}}, "weights", "no weight for 'cleo'"),
    ({"weights": dict.fromkeys(NAMES, 0)}, "weights", "all are 0"),
    ({"weights": {"ada": -1}}, "weights.ada", "at least 0"),
    ({"weights": {"ada": True}}, "weights.ada", "number"),
    ({"weights": [1, 2, 3]}, "weights", "dictionary"),
    (
        {"weights": dict.fromkeys(NAMES, 1), "members": ["ada", "bora"]},
        "weights",
        "'cleo' is not among the members of this request",
    ),
    (
        {
            "weights": {"ada": 1, "bora": 1, "cleo": 0},
            "aggregation": {"name": "replace", "by": "cleo"},
        },
        "weights",
        "'cleo' is the aggregation's by, so its weight must be above 0",
    ),
    ({"strategy": "mixture"}, "temperature", "must be 1, not 0"),
    ({"strategy": "mixture", "temperature": 0.7}, "temperature", "must be 1, not 0.7"),
    ({"strategy": "mixture", "temperature": 1, "top_k": 5}, "top_k", "must be 0, not 5"),
    ({"strategy": "mixture", "temperature": 1, "top_p": 0.9}, "top_p", "must be 1, not 0.9"),
    ({"strategy": "mixture", "temperature": 1, "min_p": 0.1}, "min_p", "must be 0, not 0.1"),
    (
        {"strategy": "mixture", "temperature": 1, "aggregation": "geometric"},
        "aggregation",
        "'geometric' is not allowed; must be 'arithmetic', the only aggregation that",
    ),
    (
        {"strategy": {"name": "mixture", "aggregation": "min"}, "temperature": 1},
        "strategy",
        "strategy.aggregation: 'min'",
    ),
    (
        {"strategy": {"name": "every_step", "conflict_guard": True}, "temperature": 1},
        "temperature",
        "must be 0 with a conflict_guard",
    ),
    ({"strategy": "mixture", "members": ["ada"]}, "temperature", "must be 1, not 0"),
    (
        {
            "strategy": {"name": "every_step", "conflict_guard": True},
            "members": ["ada"],
            "temperature": 1,
        },
        "temperature",
        "must be 0 with a conflict_guard",
    ),
]


@pytest.mark.parametrize(("fields", "param", "words"), WRONG, ids=str)
def test_wrong_choice_is_400_and_says_what_there_is(url, fields, param, words) -> None:
    error = refusal(url, **fields)
    assert error["param"] == param
    assert words in error["message"]


def test_members_that_the_servers_strategy_needs_cannot_be_left_out() -> None:
    strategy = {**GATE, "aggregation": {"name": "replace", "by": "ada"}}
    with ready(trio(strategy=strategy)) as url:
        error = refusal(url, members=["ada", "cleo"])
        assert error["param"] == "members"
        assert "must include 'bora', the gate of this server's strategy" in error["message"]
        assert "must include 'ada'" in refusal(url, members=["bora", "cleo"])["message"]
        assert text(url, BASE, members=["ada", "cleo"], strategy="every_step")


def test_server_may_narrow_what_requests_choose() -> None:
    requests = {"may_choose": ["strategy", "threshold"], "strategies": ["threshold"]}
    with ready(trio(requests=requests)) as url:
        assert text(url, BASE, strategy=GATE) != text(url, BASE)
        for fields in (
            {"members": ["ada"]},
            {"weights": dict.fromkeys(NAMES, 1)},
            {"aggregation": "min"},
            {"strategy": {**GATE, "aggregation": "min"}},
        ):
            assert "may not choose it" in refusal(url, **fields)["message"]
        error = refusal(url, strategy="mixture", temperature=1)
        assert "may not choose 'mixture', only 'threshold'" in error["message"]
        assert "may not choose" in refusal(url, strategy="every_step")["message"]
    with ready(trio(requests={"may_choose": []}, strategy="mixture")) as url:
        assert refusal(url)["param"] == "temperature", "of the server's own strategy"
        assert text(url, WARM)
        assert "may not choose it" in refusal(url, threshold=0.5)["message"]
