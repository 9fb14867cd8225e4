"""Strategies and aggregations in YAML: their names, defaults and what a request may choose."""

from typing import Any

import pytest
import yaml

from gac.config import (
    ArithmeticConfig,
    EveryStepConfig,
    GeometricConfig,
    ReplaceConfig,
    RequestsConfig,
    UniteConfig,
    describe,
)
from tests.support.configs import parse, two


def test_aggregation_is_a_name_or_an_object() -> None:
    for value, expected in [
        (None, ArithmeticConfig()),
        ("geometric", GeometricConfig()),
        ({"name": "unite"}, UniteConfig(top_k=10)),
        ({"name": "unite", "top_k": 3}, UniteConfig(top_k=3)),
        ({"name": "replace", "by": "ada"}, ReplaceConfig(by="ada")),
    ]:
        strategy = parse(two(strategy={"name": "every_step", "aggregation": value})).strategy
        assert strategy == EveryStepConfig(aggregation=expected)


def test_gate_is_replaced_by_the_highest_score_but_its_own() -> None:
    members = [
        {"weight": f"x/{name}", "name": name, "score": score}
        for name, score in [("low", 10), ("ada", 90), ("bora", 90), ("best", 99)]
    ]

    def by(**fields: Any) -> str:
        strategy = {"aggregation": "replace", **fields}
        return parse({"CONFIG_API_SERVER": members, "strategy": strategy}).strategy.aggregation.by

    assert by(name="threshold") == "ada"
    assert by(name="threshold", gate="low") == by(name="every_step") == "best"


@pytest.mark.parametrize(
    "strategy",
    [
        "mixture",
        {"name": "mixture", "aggregation": "arithmetic"},
        {"name": "every_step", "aggregation": "core", "conflict_guard": True},
        {"name": "threshold", "threshold": 0.4, "aggregation": "replace", "conflict_guard": "bora"},
        {"name": "threshold", "aggregation": {"name": "unite", "top_k": 7}},
    ],
    ids=str,
)
def test_described_strategy_parses_to_the_same(strategy: Any) -> None:
    config = parse(two(strategy=strategy, requests={"strategies": ["mixture"], "may_choose": []}))
    assert parse(yaml.safe_load(describe(config))) == config


def test_requests_may_choose_everything_unless_told() -> None:
    assert parse(two()).requests == RequestsConfig()
    narrowed = parse(two(requests={"may_choose": ["members"], "strategies": []})).requests
    assert (narrowed.may_choose, narrowed.strategies) == (("members",), ())
    assert "weights" in RequestsConfig().may_choose and "mixture" in RequestsConfig().strategies
