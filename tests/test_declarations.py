"""Nothing is declared that is not proved, fuzzed, documented and measured; no parameter is idle."""

import pytest

from benchmarks.quality.methods import METHODS, strategy_for
from gac.config import ArithmeticConfig
from gac.config.catalogue import AGGREGATIONS, STRATEGIES, aggregations, strategies
from gac.config.methods import Method
from gac.errors import ConfigError
from tests.support import strategy_tables, trios
from tests.support.configs import parse, two
from tests.support.effects import EFFECTS, ONE_VALUE
from tests.support.methods import (
    FUZZED_AGGREGATIONS,
    FUZZED_STRATEGIES,
    REFERENCE_AGGREGATIONS,
    REFERENCE_STRATEGIES,
)

DECLARED: dict[str, type[Method]] = {
    **{name: strategies().declared[name] for name in STRATEGIES},
    **{name: aggregations().declared[name] for name in AGGREGATIONS},
}
PARAMETERS = [
    (name, key) for name, one in DECLARED.items() for key in one.model_fields if key != "name"
]
BUSY = [
    trios.EVERY_STEP,
    trios.GATED,
    trios.REPLACED,
    *trios.AGGREGATED,
    *trios.VERIFIED,
    trios.GUARDED,
]
MEASURED = [strategy_for(method, ["ada", "bora", "cleo"]) for method in METHODS]
PLACES = {
    "a reference (tests/support/methods.py)": {*REFERENCE_STRATEGIES, *REFERENCE_AGGREGATIONS},
    "a place in the fuzz (tests/support/methods.py)": {*FUZZED_STRATEGIES, *FUZZED_AGGREGATIONS},
    "a place in the fuzz of busy batches (tests/support/trios.py)": {
        name for config in BUSY for name in (config.name, config.aggregation.name)
    },
    "a line in the benchmark (benchmarks/quality/methods.py)": {
        name for config in MEASURED for name in (config.name, config.aggregation.name)
    },
}


@pytest.mark.parametrize("what", PLACES)
def test_every_method_has(what: str) -> None:
    lacking = sorted(DECLARED.keys() - PLACES[what])
    assert not lacking, f"{', '.join(lacking)}: needs {what}"


def test_what_the_fuzz_draws_is_what_its_row_says() -> None:
    for name, configs in FUZZED_AGGREGATIONS.items():
        assert {config.name for config in configs} == {name}
    for name, one in DECLARED.items():
        assert one.__doc__, f"{name}: needs a docstring, which is its documentation"


def test_page_has_the_tables_of_the_declarations() -> None:
    page = strategy_tables.PAGE.read_text("utf-8")
    fresh = strategy_tables.page_with(page, strategy_tables.tables())
    assert page == fresh, "run: python -m tests.support.strategy_tables"
    for name in DECLARED:
        assert f"| `{name}` |" in strategy_tables.tables(), f"{name}: needs a row in the page"


@pytest.mark.parametrize(("name", "key"), PARAMETERS)
def test_every_parameter_matters(name: str, key: str) -> None:
    if (name, key) in ONE_VALUE:
        return
    assert (name, key) in EFFECTS, f"{name}.{key}: needs two values (tests/support/effects.py)"
    effect = EFFECTS[name, key]
    before, after = (one.model_dump() for one in (effect.first, effect.second))
    changed = {inner for inner in before if before[inner] != after[inner]}
    varied = key if name in STRATEGIES else "aggregation"
    assert changed == {varied}, "one parameter at a time"
    first, second = effect.outputs()
    assert first != second, f"{name}.{key}: {before[varied]} and {after[varied]} do the same"


def test_parameters_of_one_value_have_no_other() -> None:
    assert {("mixture", "aggregation")} == ONE_VALUE
    for name in AGGREGATIONS.keys() - {ArithmeticConfig().name}:
        with pytest.raises(ConfigError, match="must be 'arithmetic'"):
            parse(two(strategy={"name": "mixture", "aggregation": name}))
