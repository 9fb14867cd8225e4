"""A package of somebody else's adds a strategy and an aggregation; what is wrong in one is said."""

import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gac.config import RequestsConfig, describe, parse_config
from gac.config.catalogue import aggregations, strategies
from gac.errors import ConfigError
from tests.support.choices import BASE, body_of, refusal, text, trio
from tests.support.configs import HERE, parse, two
from tests.support.fake_service import fake_config, ready

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/extending.md"
PACKAGE = ROOT / "tests/plugin_package"


def forget() -> None:
    """The next configuration looks for packages again."""
    strategies.cache_clear()
    aggregations.cache_clear()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has installed the test package in."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PACKAGE, folder / "source")  # a build writes beside the sources
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *offline]
    done = subprocess.run(
        [*command, "--target", str(folder / "site"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def plugin(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from found(installed, monkeypatch)


def found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield
    forget()
    for name in [name for name in sys.modules if name.startswith("gac_")]:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.usefixtures("plugin")
def test_package_is_used_like_what_is_built_in() -> None:
    assert tuple(strategies().declared) == ("every_step", "threshold", "safe", "mixture", "turns")
    assert RequestsConfig().strategies[-1] == "turns"
    written = {"name": "every_step", "aggregation": {"name": "power", "exponent": 3}}
    config = parse(two(strategy=written, requests={"strategies": ["turns"]}))
    assert config.strategy.model_dump()["aggregation"] == {"name": "power", "exponent": 3.0}
    assert parse(yaml.safe_load(describe(config))) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.usefixtures("plugin")
def test_configuration_that_the_page_shows_is_valid() -> None:
    [shown] = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    config = parse(two(**yaml.safe_load(shown)))
    assert config.requests.strategies == ("every_step", "turns")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("strategy", "line"),
    [
        ("turn", "strategy: 'turn' is not allowed; must be 'every_step', 'threshold', 'safe', "),
        ({"name": "turns", "lenght": 1}, "strategy.lenght: unknown key; did you mean length?"),
        ({"name": "turns", "length": 0}, "strategy.length: 0 is not allowed; must be a whole "),
        ({"name": "turns", "aggregation": "min"}, "strategy.aggregation: unknown key; known keys"),
        (
            {"name": "every_step", "aggregation": {"name": "power", "exponent": 0}},
            "strategy.aggregation.exponent: 0 is not allowed; must be a number above 0",
        ),
    ],
    ids=str,
)
def test_errors_name_its_keys_and_values(strategy: Any, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(two(strategy=strategy))
    assert str(caught.value).startswith(f"c.yaml: {line}")


@pytest.mark.usefixtures("plugin")
def test_requests_choose_it() -> None:
    with ready(trio()) as url:
        turns = body_of(url, {**BASE, "strategy": "turns"})
        assert turns["ensembled_token_ratio"] == [0.0]
        one_each = turns["response"][0]
        assert text(url, BASE, strategy={"name": "turns", "length": 4}) != one_each
        assert text(url, BASE, strategy={"name": "turns", "length": 99}) == text(
            url, BASE, members=["ada"]
        )
        plain = text(url, BASE)
        assert text(url, BASE, aggregation={"name": "power", "exponent": 1}) == plain
        assert text(url, {**BASE, "max_new_tokens": 80}, aggregation="power") != plain
        error = refusal(url, strategy="turns", aggregation="min")
        assert error["message"] == "aggregation: the strategy 'turns' takes none"
        assert "'mixture' or 'turns'" in refusal(url, strategy="turn")["message"]
    with ready(trio(strategy="turns", requests={"strategies": ["every_step"]})) as url:
        assert text(url, BASE) == one_each
        assert "may not choose 'turns'" in refusal(url, strategy="turns")["message"]


CLASSES = """
import gac.config.methods as methods
from typing import Literal
class Fine(methods.AggregationConfig):
    name: Literal["fine"] = "fine"
    def function(self, main, order): ...
class Unfinished(methods.AggregationConfig):
    name: Literal["unfinished"] = "unfinished"
class Unnamed(methods.AggregationConfig):
    name: str = "unnamed"
    def function(self, main, order): ...
"""


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "x = gac_none:X",
            "'x' of the package gac-broken 1.2 cannot be loaded from gac_none:X (Mod",
        ),
        (
            "x = gac_broken:X",
            "'x' of the package gac-broken 1.2 cannot be loaded from gac_broken:X (",
        ),
        (
            "x = gac_broken:CLASSES",
            "'x' of the package gac-broken 1.2 is no subclass of gac.config.",
        ),
        ("unfinished = gac_broken:Unfinished", "gac-broken 1.2 does not define function"),
        ("unnamed = gac_broken:Unnamed", 'needs the field name: Literal["unnamed"] = "unnamed"'),
        ("other = gac_broken:Fine", 'needs the field name: Literal["other"] = "other"'),
        ("min = gac_broken:Fine", "'min' is declared by gac itself and the package gac-broken 1.2"),
    ],
)
def test_broken_package_is_one_clear_error(
    entry: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path, "gac-broken", entry, CLASSES + "CLASSES = 1\n")
    for _ in found(tmp_path, monkeypatch):
        with pytest.raises(ConfigError) as caught:
            parse_config(two(strategy={"name": "every_step", "aggregation": "min"}), "c", HERE)
        [line] = str(caught.value).splitlines()
        assert line.startswith("gac.aggregations: ") and message in line


def test_two_packages_of_one_name_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gac-one", "gac-two"):
        write_package(tmp_path, name, f"fine = {name.replace('-', '_')}:Fine", CLASSES)
    for _ in found(tmp_path, monkeypatch):
        with pytest.raises(ConfigError, match="'fine' is declared by the package gac-.* 1.2 and"):
            fake_config(strategy={"name": "every_step", "aggregation": "fine"})


def write_package(folder: Path, name: str, entry: str, code: str) -> None:
    """An installed package, as little of it as `importlib.metadata` reads."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[gac.aggregations]\n{entry}\n")


@pytest.mark.parametrize("name", ["pyproject.toml", "gac_turns.py"])
def test_page_shows_the_package_that_is_tested(name: str) -> None:
    assert (PACKAGE / name).read_text().strip() in PAGE.read_text()
