"""The configuration: the original's YAML, the new keys, and what is said of every mistake."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gac.config import (
    Config,
    EngineConfig,
    EveryStepConfig,
    MemberConfig,
    RayConfig,
    SafeConfig,
    ServerConfig,
    SpeculationConfig,
    ThresholdConfig,
    describe,
    load_config,
    parse_config,
    parse_strategy,
    resolve_path,
)
from gac.errors import ConfigError
from tests.support.configs import (
    HERE,
    member,
    one,
    parse,
    two,
)

README_YAML = """
NORM_TYPE_API_SERVER: 'average' # 'average' or 'score'
THRESHOLD_API_SERVER: 1.0
CONFIG_API_SERVER:
  - weight: '[Please replace with the path to the local model weight]' # or 'upstage/...'
    max_memory:
      0: '24GiB'
    num_gpus: 0.5
    name: 'SOLAR-10.7B-Instruct-v1.0'
    score: 100
    priority: 'supportive' # 'primary' or 'supportive'
    quantization: 'none' # 'none'/'8bit'/'4bit'

  - weight: '[Please replace with the path to the local model weight]' # or 'openchat/...'
    max_memory:
      0: '24GiB'
    num_gpus: 0.5
    name: 'openchat-3.5-0106'
    score: 100
    priority: 'supportive' # 'primary' or 'supportive'
    quantization: 'none' # 'none'/'8bit'/'4bit'
"""


def errors(data: object) -> list[str]:
    """The lines of the error, each of which has to name the file and use no pydantic jargon."""
    with pytest.raises(ConfigError) as caught:
        parse(data)
    return checked_lines(caught.value)


def checked_lines(error: ConfigError) -> list[str]:
    assert error.exit_code == 2
    lines = str(error).splitlines()
    assert all(line.startswith("c.yaml: ") for line in lines)
    for jargon in ("pydantic", "http", "type=", "Input should", "input_value", "ValueError"):
        assert jargon not in str(error)
    return [line.removeprefix("c.yaml: ") for line in lines]


def file_errors(folder: Path, text: str | bytes) -> list[str]:
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return checked_lines(ConfigError(message.replace(str(path), "c.yaml")))


# The original's YAML


def test_readme_yaml_works_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    placeholder = "[Please replace with the path to the local model weight]"
    text = README_YAML.replace(placeholder, "upstage/SOLAR-10.7B-Instruct-v1.0", 1)
    path.write_text(text.replace(placeholder, "openchat/openchat-3.5-0106"))
    config = load_config(path)
    first, second = config.members
    assert (first.path, first.name) == (
        "upstage/SOLAR-10.7B-Instruct-v1.0",
        "SOLAR-10.7B-Instruct-v1.0",
    )
    assert second.path == "openchat/openchat-3.5-0106"
    assert (first.max_memory, first.num_gpus, first.score) == ({0: "24GiB"}, 0.5, 100.0)
    assert config.strategy == EveryStepConfig()
    assert config.weights == {"SOLAR-10.7B-Instruct-v1.0": 0.5, "openchat-3.5-0106": 0.5}


def test_placeholder_is_explained(tmp_path: Path) -> None:
    lines = file_errors(tmp_path, README_YAML)
    assert len(lines) == 2
    assert lines[0].startswith("CONFIG_API_SERVER[0] (SOLAR-10.7B-Instruct-v1.0).weight: '[Please")
    assert "placeholder" in lines[0] and "openchat/openchat-3.5-0106" in lines[0]


def test_defaults() -> None:
    config = parse(one())
    assert config == Config(
        members=(MemberConfig(path="org/ada", name="ada"),),
        norm_type="average",
        threshold=None,
        strategy=EveryStepConfig(),
        engine=EngineConfig(
            retokenize="canonical",
            max_sequences=64,
            max_queued=1024,
            kv_cache_tokens=None,
            max_batch_tokens=2048,
            prefill_chunk=None,
            max_new_tokens_limit=8192,
            speculation=SpeculationConfig(drafter="none", max_tokens=8),
            load_timeout_s=1800,
        ),
        server=ServerConfig(
            host="127.0.0.1", port=8000, max_body_bytes=8388608, max_conversations=256
        ),
        ray=RayConfig(enabled=True, address=None),
    )
    ada = config.members[0]
    assert (ada.score, ada.priority, ada.quantization, ada.num_gpus, ada.num_cpus) == (
        (100.0, "supportive", "none", 0.0, 0.0)
    )
    assert (ada.dtype, ada.device, ada.trust_remote_code) == ("auto", "auto", False)
    assert (ada.max_memory, ada.revision, ada.max_model_len) == (None, None, None)
    assert ada.num_threads is None


def test_config_is_frozen_and_picklable() -> None:
    config = parse(one(max_memory={0: "1GiB", "cpu": "2GB"}))
    with pytest.raises(ValidationError):
        config.threshold = 0.5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config


def test_weights_follow_the_scores_only_for_norm_type_score() -> None:
    members = [member("ada", score=1), member("bora", score=3.0)]
    data = {"CONFIG_API_SERVER": members}
    assert parse(data).weights == {"ada": 0.5, "bora": 0.5}
    assert parse({**data, "NORM_TYPE_API_SERVER": "score"}).weights == {"ada": 0.25, "bora": 0.75}


def test_weights_of_huge_scores_do_not_overflow() -> None:
    members = [member("ada", score=1.5e308), member("bora", score=1.5e308)]
    data = {"CONFIG_API_SERVER": members, "NORM_TYPE_API_SERVER": "score"}
    assert parse(data).weights == {"ada": 0.5, "bora": 0.5}


# Values that are not allowed: (keys of a member, key, value as shown, a part of what is allowed)

WRONG_MEMBER_VALUES = [
    ("weight", 3, "3", "folder or hub name"),
    ("weight", "", "''", "folder or hub name"),
    ("name", "", "''", "text without '/'"),
    ("name", "   ", "'   '", "text without '/'"),
    ("name", "a/b", "'a/b'", "text without '/'"),
    ("name", " ada", "' ada'", "surrounding spaces"),
    ("name", "a\nb", r"'a\nb'", "text without '/'"),
    ("name", 7, "7", "text without '/'"),
    ("score", 0, "0", "a number above 0"),
    ("score", -1.5, "-1.5", "a number above 0"),
    ("score", float("nan"), "nan", "a number above 0"),
    ("score", float("inf"), "inf", "a number above 0"),
    ("score", "100", "'100'", "a number above 0"),
    ("score", True, "true", "a number above 0"),
    ("score", 10**400, "1000", "a number above 0"),
    ("priority", "Primary", "'Primary'", "'primary' or 'supportive'"),
    ("quantization", "3bit", "'3bit'", "'none' or '8bit' or '4bit'"),
    ("quantization", 8, "8", "'none' or '8bit' or '4bit'"),
    ("quantization", ["8bit"], "['8bit']", "'none' or '8bit' or '4bit'"),
    ("num_gpus", -1, "-1", "0, a fraction"),
    ("num_gpus", 1.5, "1.5", "whole GPUs"),
    ("num_gpus", float("inf"), "inf", "whole GPUs"),
    ("num_gpus", float("nan"), "nan", "whole GPUs"),
    ("num_gpus", "1", "'1'", "whole GPUs"),
    ("num_gpus", True, "true", "whole GPUs"),
    ("num_cpus", -0.5, "-0.5", "0 or more"),
    ("num_threads", 0, "0", "at least 1"),
    ("max_memory", "24GiB", "'24GiB'", "a mapping of GPU indexes"),
    ("max_memory", {0: "24"}, "{0: '24'}", "GiB, MiB, KiB, GB, MB, KB"),
    ("max_memory", {0: 24}, "{0: 24}", "such as '24GiB'"),
    ("max_memory", {0: "24Gb"}, "{0: '24Gb'}", "such as '24GiB'"),
    ("max_memory", {0: "-1GiB"}, "{0: '-1GiB'}", "such as '24GiB'"),
    ("max_memory", {-1: "1GiB"}, "{-1: '1GiB'}", "GPU indexes (0, 1, ...) or cpu"),
    ("max_memory", {"0": "1GiB"}, "{'0': '1GiB'}", "GPU indexes (0, 1, ...) or cpu"),
    ("max_memory", {True: "1GiB"}, "{True: '1GiB'}", "GPU indexes (0, 1, ...) or cpu"),
    ("max_memory", {"gpu": "1GiB"}, "{'gpu': '1GiB'}", "GPU indexes (0, 1, ...) or cpu"),
    ("dtype", "fp16", "'fp16'", "'auto' or 'float32' or 'float16' or 'bfloat16'"),
    ("device", "gpu", "'gpu'", "'auto' or 'cpu' or 'cuda'"),
    ("device", None, "null", "'auto' or 'cpu' or 'cuda'"),
    ("revision", 1234567, "1234567", "text (digits in quotes)"),
    ("trust_remote_code", 1, "1", "true or false"),
    ("trust_remote_code", "yes", "'yes'", "true or false"),
    ("max_model_len", 0, "0", "a whole number, at least 1"),
    ("max_model_len", True, "true", "a whole number, at least 1"),
    ("max_model_len", 4096.0, "4096.0", "a whole number, at least 1"),
]


@pytest.mark.parametrize(("key", "value", "shown", "allowed"), WRONG_MEMBER_VALUES)
def test_wrong_member_value_is_explained(key: str, value: object, shown: str, allowed: str) -> None:
    entry = member("openchat") | {key: value}
    [line] = errors({"CONFIG_API_SERVER": [member("ada"), entry]})
    assert line.startswith("CONFIG_API_SERVER[1]")
    assert f".{key}: {shown}" in line
    assert " is not allowed; must be " in line and allowed in line
    if key != "name":
        assert line.startswith(f"CONFIG_API_SERVER[1] (openchat).{key}: ")


WRONG_TOP_VALUES = [
    ({"NORM_TYPE_API_SERVER": "scores"}, "NORM_TYPE_API_SERVER: 'scores'", "'average' or 'score'"),
    ({"THRESHOLD_API_SERVER": 1.5}, "THRESHOLD_API_SERVER: 1.5", "a number from 0 to 1"),
    ({"THRESHOLD_API_SERVER": -0.1}, "THRESHOLD_API_SERVER: -0.1", "a number from 0 to 1"),
    ({"THRESHOLD_API_SERVER": float("nan")}, "THRESHOLD_API_SERVER: nan", "a number from 0 to 1"),
    ({"THRESHOLD_API_SERVER": "0.5"}, "THRESHOLD_API_SERVER: '0.5'", "a number from 0 to 1"),
    ({"THRESHOLD_API_SERVER": True}, "THRESHOLD_API_SERVER: true", "a number from 0 to 1"),
    ({"CONFIG_API_SERVER": []}, "CONFIG_API_SERVER: []", "a list of one or more members"),
    ({"CONFIG_API_SERVER": {"a": 1}}, "CONFIG_API_SERVER: {'a': 1}", "a list of one or more"),
    ({"engine": {"max_sequences": 0}}, "engine.max_sequences: 0", "a whole number, at least 1"),
    ({"engine": {"max_queued": True}}, "engine.max_queued: true", "a whole number, at least 1"),
    ({"engine": {"kv_cache_tokens": 0}}, "engine.kv_cache_tokens: 0", "a whole number, at least 1"),
    (
        {"engine": {"speculation": {"drafter": "adda"}}},
        "engine.speculation.drafter: 'adda'",
        "'none' or 'auto' or 'ada'",
    ),
    (
        {"engine": {"speculation": {"max_tokens": 0}}},
        "engine.speculation.max_tokens: 0",
        "a whole number, at least 1",
    ),
    (
        {"engine": {"speculation": "auto"}},
        "engine.speculation: 'auto'",
        "a mapping with the keys drafter, max_tokens",
    ),
    ({"engine": {"max_batch_tokens": 1.0}}, "engine.max_batch_tokens: 1.0", "a whole number"),
    ({"engine": {"prefill_chunk": 0}}, "engine.prefill_chunk: 0", "a whole number, at least 1"),
    ({"engine": {"max_new_tokens_limit": "9"}}, "engine.max_new_tokens_limit: '9'", "at least 1"),
    ({"engine": {"load_timeout_s": 0}}, "engine.load_timeout_s: 0", "a whole number, at least 1"),
    ({"engine": {"retokenize": "no"}}, "engine.retokenize: 'no'", "'canonical' or 'append'"),
    ({"engine": "fast"}, "engine: 'fast'", "a mapping with the keys retokenize, "),
    ({"server": {"port": 65536}}, "server.port: 65536", "0 to 65535"),
    ({"server": {"port": -1}}, "server.port: -1", "0 to 65535"),
    ({"server": {"port": True}}, "server.port: true", "0 to 65535"),
    ({"server": {"host": ""}}, "server.host: ''", "an address or host name"),
    ({"server": {"max_body_bytes": 0}}, "server.max_body_bytes: 0", "at least 1"),
    ({"server": {"max_conversations": 0}}, "server.max_conversations: 0", "at least 1"),
    ({"ray": {"enabled": "no"}}, "ray.enabled: 'no'", "true or false"),
    ({"ray": {"address": 6379}}, "ray.address: 6379", "text"),
    ({"ray": []}, "ray: []", "a mapping with the keys enabled, address"),
    ({"strategy": 3}, "strategy: 3", "a name or a mapping"),
    ({"strategy": "save"}, "strategy: 'save'", "'every_step', 'threshold', 'safe' or 'mixture'"),
    ({"strategy": {"name": "save"}}, "strategy.name: 'save'", "'threshold', 'safe' or 'mixture'"),
    ({"strategy": {}}, "strategy.name: null", "'threshold', 'safe' or 'mixture'"),
    ({"strategy": {"name": ["threshold"]}}, "strategy.name: ['threshold']", "'every_step', "),
    (
        {"strategy": {"name": "every_step", "aggregation": "mean"}},
        "strategy.aggregation: 'mean'",
        "'arithmetic', 'geometric', 'min', 'unite', 'core', 'entropy' or 'replace'",
    ),
    (
        {"strategy": {"name": "threshold", "aggregation": {"name": "unite", "top_k": 0}}},
        "strategy.aggregation.top_k: 0",
        "a whole number, at least 1",
    ),
    (
        {"strategy": {"name": "every_step", "aggregation": {"name": "replace", "by": "cleo"}}},
        "strategy.aggregation.by: 'cleo'",
        "'ada' or 'bora'",
    ),
    (
        {"strategy": {"name": "every_step", "conflict_guard": "cleo"}},
        "strategy.conflict_guard: 'cleo'",
        "'ada' or 'bora'",
    ),
    (
        {"strategy": {"name": "every_step", "conflict_guard": 1}},
        "strategy.conflict_guard: 1",
        "true, false or the name of a member",
    ),
    (
        {"strategy": {"name": "mixture", "aggregation": "min"}},
        "strategy.aggregation: 'min'",
        "'arithmetic', the only aggregation that a mixture can equal",
    ),
    ({"requests": {"may_choose": ["seed"]}}, "requests.may_choose: ['seed']", "a list of strategy"),
    ({"requests": {"strategies": "all"}}, "requests.strategies: 'all'", "a list of every_step"),
    (
        {"strategy": {"name": "threshold", "threshold": float("nan")}},
        "strategy.threshold: nan",
        "a number from 0 to 1",
    ),
    (
        {"strategy": {"name": "threshold", "gate": "cleo"}},
        "strategy.gate: 'cleo'",
        "'ada' or 'bora'",
    ),
    (
        {"strategy": {"name": "safe", "drafter": "cleo"}},
        "strategy.drafter: 'cleo'",
        "'ada' or 'bora'",
    ),
    (
        {"strategy": {"name": "safe", "max_tokens": 0}},
        "strategy.max_tokens: 0",
        "a whole number from 1 to 64",
    ),
    (
        {"strategy": {"name": "safe", "consensus": 1.5}},
        "strategy.consensus: 1.5",
        "a number from 0 to 1",
    ),
    (
        {"strategy": {"name": "safe", "sharpen": "yes"}},
        "strategy.sharpen: 'yes'",
        "'none' or 'prefix_merge' or 'geometric'",
    ),
    (
        {"strategy": {"name": "threshold", "below": "average"}},
        "strategy.below: 'average'",
        "'ensemble' or 'replace'",
    ),
]


@pytest.mark.parametrize(("keys", "start", "allowed"), WRONG_TOP_VALUES)
def test_wrong_value_outside_the_members_is_explained(
    keys: dict[str, Any], start: str, allowed: str
) -> None:
    [line] = errors(two(**keys))
    assert line.startswith(f"{start} is not allowed; must be ") and allowed in line


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (two(engin={}), "engin: unknown key; did you mean engine?"),
        (two(config_api_serve=[]), "config_api_serve: unknown key; did you mean CONFIG_API_SERVER"),
        (two(zzz=1), "zzz: unknown key; known keys: NORM_TYPE_API_SERVER, "),
        (two(engine={"max_sequence": 3}), "engine.max_sequence: unknown key; did you mean max_seq"),
        (two(server={"hots": "x"}), "server.hots: unknown key; did you mean host?"),
        (two(server={"api_key": "x"}), "server.api_key: unknown key; known keys: host, port, "),
        (two(ray={"adress": "x"}), "ray.adress: unknown key; did you mean address?"),
        (
            two(strategy={"name": "threshold", "treshold": 0.5}),
            "strategy.treshold: unknown key; did you mean threshold?",
        ),
        (
            two(strategy={"name": "every_step", "gate": "ada"}),
            "strategy.gate: unknown key; known keys: name, aggregation, conflict_guard",
        ),
        (
            one(quantisation="8bit"),
            "CONFIG_API_SERVER[0] (ada).quantisation: unknown key; did you mean quantization?",
        ),
        (one(path="x"), "CONFIG_API_SERVER[0] (ada).path: unknown key; "),
        (one(**{"Score": 3}), "CONFIG_API_SERVER[0] (ada).Score: unknown key; did you mean score?"),
        ({**one(), 1: 2}, "1: unknown key; known keys: "),
        ({**one(), True: 2}, "true: unknown key; known keys: "),
    ],
)
def test_unknown_key_gets_a_hint(data: dict[Any, Any], line: str) -> None:
    [found] = errors(data)
    assert found.startswith(line)


def test_all_errors_are_listed_together() -> None:
    entry = {"wieght": "x", "name": "ada", "num_gpus": 1.5}
    data = {"CONFIG_API_SERVER": [entry, "bora", None], "engine": {"max_queued": 0}, "servers": {}}
    assert [line.split(":")[0] for line in errors(data)] == [
        "servers",
        "CONFIG_API_SERVER[0] (ada).wieght",
        "CONFIG_API_SERVER[0] (ada).weight",
        "CONFIG_API_SERVER[0] (ada).num_gpus",
        "CONFIG_API_SERVER[1]",
        "CONFIG_API_SERVER[2].weight",
        "CONFIG_API_SERVER[2].name",
        "engine.max_queued",
    ]


def test_gate_that_is_a_faulty_member_is_not_reported_as_unknown() -> None:
    members = [member("ada", score=0), member("bora")]
    data = {"CONFIG_API_SERVER": members, "strategy": {"name": "threshold", "gate": "ada"}}
    [line] = errors(data)
    assert line.startswith("CONFIG_API_SERVER[0] (ada).score: 0")


def test_name_used_twice() -> None:
    [line] = errors({"CONFIG_API_SERVER": [member("ada"), member("bora"), member("ada")]})
    assert line.startswith("CONFIG_API_SERVER[2] (ada).name: 'ada' is taken")


def test_missing_members() -> None:
    assert errors({}) == ["CONFIG_API_SERVER: is missing; must be a list of one or more members"]


def test_long_value_is_shortened() -> None:
    [line] = errors(two(NORM_TYPE_API_SERVER="x" * 100_000))
    assert len(line) < 300


@pytest.mark.parametrize("num_gpus", [0, 0.25, 0.5, 1, 1.0, 2, 8.0])
def test_num_gpus_that_ray_can_give(num_gpus: float) -> None:
    assert parse(one(num_gpus=num_gpus)).members[0].num_gpus == num_gpus


@pytest.mark.parametrize("size", ["24GiB", "24GB", "512MiB", "512MB", "9KiB", "1.5GiB", "24 GiB"])
def test_memory_sizes_that_accelerate_reads(size: str) -> None:
    config = parse(one(max_memory={0: size, "cpu": size}))
    assert config.members[0].max_memory == {0: size, "cpu": size}


# The strategy


def primary_and_supportive(**keys: Any) -> dict[str, Any]:
    return {"CONFIG_API_SERVER": [member("ada"), member("bora", priority="primary")], **keys}


def test_all_supportive_is_every_step() -> None:
    assert parse(two(THRESHOLD_API_SERVER=0.5)).strategy == EveryStepConfig()


def test_one_primary_is_the_gate_with_the_threshold_of_the_file() -> None:
    config = parse(primary_and_supportive(THRESHOLD_API_SERVER=0.5))
    assert config.strategy == ThresholdConfig(gate="bora", threshold=0.5, below="ensemble")
    assert parse(primary_and_supportive()).strategy == ThresholdConfig(gate="bora", threshold=1.0)


def test_two_primaries_are_an_error_naming_both() -> None:
    members = [member("ada", priority="primary"), member("bora", priority="primary")]
    [line] = errors({"CONFIG_API_SERVER": members})
    assert line.startswith("CONFIG_API_SERVER: 'ada' and 'bora' are primary")


def test_explicit_strategy_wins_over_the_priorities() -> None:
    config = parse(primary_and_supportive(strategy="every_step"))
    assert config.strategy == EveryStepConfig()
    gate = {"name": "threshold", "gate": "ada", "threshold": 0, "below": "replace"}
    config = parse(primary_and_supportive(strategy=gate))
    assert config.strategy == ThresholdConfig(gate="ada", threshold=0.0, below="replace")


def test_default_drafter_is_found_as_the_default_gate_is() -> None:
    best = member("cleo", score=101.0)
    for members, drafter in [
        ([member("ada"), member("bora", priority="primary"), best], "bora"),
        ([member("ada"), best], "cleo"),
        ([member("ada"), member("bora")], "ada"),
    ]:
        strategy = parse({"CONFIG_API_SERVER": members, "strategy": "safe"}).strategy
        assert strategy == SafeConfig(drafter=drafter)
    given = {"name": "safe", "drafter": "bora", "sharpen": "geometric", "extra_gate": 0.5}
    config = parse(two(strategy=given))
    assert config.strategy == SafeConfig(drafter="bora", sharpen="geometric", extra_gate=0.5)
    assert parse(yaml.safe_load(describe(config))) == config


def test_default_gate_is_the_primary_then_the_highest_score_then_the_first() -> None:
    def gate(*members: dict[str, Any]) -> str:
        strategy = parse({"CONFIG_API_SERVER": list(members), "strategy": "threshold"}).strategy
        assert isinstance(strategy, ThresholdConfig)
        return strategy.gate

    best = member("cleo", score=101)
    assert gate(member("ada"), member("bora", priority="primary"), best) == "bora"
    assert gate(member("ada"), member("bora"), best) == "cleo"
    assert gate(member("ada"), member("bora")) == "ada"


def test_strategy_without_a_threshold_takes_that_of_the_file() -> None:
    config = parse(two(strategy={"name": "threshold"}, THRESHOLD_API_SERVER=0.3))
    assert config.strategy == ThresholdConfig(gate="ada", threshold=0.3)


def test_strategy_without_any_threshold_takes_the_papers_and_not_that_of_the_original() -> None:
    """At 1.0 everybody would be asked at every step, and nobody would see why."""
    for strategy in ("threshold", {"name": "threshold"}):
        assert parse(two(strategy=strategy)).strategy == ThresholdConfig(gate="ada", threshold=0.5)
    written = parse(two(strategy="threshold", THRESHOLD_API_SERVER=1.0))
    assert written.strategy == ThresholdConfig(gate="ada", threshold=1.0)
    assert parse(primary_and_supportive()).strategy == ThresholdConfig(gate="bora", threshold=1.0)


def test_replace_needs_somebody_else() -> None:
    [line] = errors({**one(), "strategy": {"name": "threshold", "below": "replace"}})
    assert line.startswith("strategy.below: 'replace' needs a second member")


def test_parse_strategy_of_a_request_follows_the_same_rules() -> None:
    members = parse(primary_and_supportive()).members
    assert parse_strategy(None, members, 0.4) == ThresholdConfig(gate="bora", threshold=0.4)
    assert parse_strategy("every_step", members, 0.4) == EveryStepConfig()
    chosen = parse_strategy({"name": "threshold", "gate": "ada"}, members, 0.4)
    assert chosen == ThresholdConfig(gate="ada", threshold=0.4)
    with pytest.raises(ConfigError, match=r"^body\.strategy\.gate: 'x' is not allowed; must be "):
        parse_strategy({"name": "threshold", "gate": "x"}, members, 0.4, "body.strategy")


@pytest.mark.parametrize("section", ["engine", "server", "ray", "strategy"])
def test_section_left_empty_is_absent(section: str) -> None:
    assert parse(two(**{section: None})) == parse(two())


# Paths


def test_folder_next_to_the_config_comes_before_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("conf/org/both", "work/org/both", "work/org/here"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    conf = tmp_path / "conf"
    assert resolve_path("org/both", conf) == str(conf / "org/both")
    assert resolve_path("org/here", conf) == str(tmp_path / "work/org/here")
    assert resolve_path("../work/org/here", conf) == str(tmp_path / "work/org/here")
    assert resolve_path(str(conf / "org"), conf) == str(conf / "org")
    assert resolve_path("org/elsewhere", conf) == "org/elsewhere"
    assert resolve_path("gpt2", conf) == "gpt2"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_path("~/model", HERE) == str(tmp_path / "model")


@pytest.mark.parametrize("weight", ["/no/such", "./such", "../such", "~/such", "a/b/c", "a b"])
def test_missing_folder_is_an_error(weight: str) -> None:
    [line] = errors({"CONFIG_API_SERVER": [{"weight": weight, "name": "ada"}]})
    assert line.startswith(
        f"CONFIG_API_SERVER[0] (ada).weight: '{weight}': there is no such folder"
    )


def test_file_instead_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="is a file; must be the folder"):
        resolve_path("./model.safetensors", tmp_path)


@pytest.mark.parametrize("weight", ["q4/model.Q4.GGUF", "q4", "no/such.gguf"])
def test_gguf_is_said_to_be_unsupported(tmp_path: Path, weight: str) -> None:
    (tmp_path / "q4").mkdir()
    (tmp_path / "q4" / "model.Q4.GGUF").write_bytes(b"")
    with pytest.raises(ConfigError, match=f"'{weight}': GGUF is not supported yet; give the"):
        resolve_path(weight, tmp_path)


def test_gguf_beside_safetensors_does_not_matter(tmp_path: Path) -> None:
    for name in ("model.gguf", "config.json"):
        (tmp_path / name).write_text("{}")
    assert resolve_path(str(tmp_path), HERE) == str(tmp_path)


@pytest.mark.parametrize(
    ("weight", "name"),
    [("org/ada-7b", "ada-7b"), ("gpt2", "gpt2"), ("ada", "ada"), ("./ada/", "ada"), (".", "here")],
)
def test_a_name_is_its_folders_unless_given(tmp_path: Path, weight: str, name: str) -> None:
    folder = tmp_path / "here"
    (folder / "ada").mkdir(parents=True)
    config = parse_config({"CONFIG_API_SERVER": [{"weight": weight}]}, "c.yaml", folder)
    assert config.members[0].name == name


def test_folders_of_one_name_need_names() -> None:
    assert errors({"CONFIG_API_SERVER": [{"weight": "a/ada"}, {"weight": "b/ada"}]}) == [
        "CONFIG_API_SERVER[1].name: 'ada' is taken; every member needs its own"
    ]


def test_a_chat_template_is_found_like_a_folder(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "chat.jinja").write_text("")
    given = {"CONFIG_API_SERVER": [member("ada", chat_template="chat.jinja")]}
    config = parse_config(given, "c.yaml", tmp_path)
    assert config.members[0].chat_template == str(tmp_path / "chat.jinja")
    monkeypatch.chdir(tmp_path)
    assert parse(given).members[0].chat_template == str(tmp_path / "chat.jinja")
    missing = one(chat_template="none.jinja")
    [line] = errors(missing)
    assert line.startswith("CONFIG_API_SERVER[0] (ada).chat_template: 'none.jinja': there is no ")


# The file


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty; it needs at least CONFIG_API_SERVER"),
        ("# only a comment\n", "is empty; it needs at least CONFIG_API_SERVER"),
        ("- a\n", "is not a mapping of keys to values; "),
        ("just text\n", "is not a mapping of keys to values; "),
        (b"name: \xff\n", "not UTF-8 text (at byte 6)"),
        ("a: 1\nb: [1, 2\n", "line 3, column 1: not valid YAML: "),
        ("a: 1\n\tb: 2\n", "line 2, column 1: not valid YAML: "),
        ("a: b: c\n", "line 1, column 5: not valid YAML: mapping values are not allowed here"),
        ("a: 1\nb: \x01\n", "line 2, column 4: not valid YAML: a control character"),
        ("a: 2024-99-99\n", "not valid YAML: "),
        ("a: !!python/object:os.system {}\n", "line 1, column 4: not valid YAML: "),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: not valid YAML: "),
        ("[" * 5000, "not valid YAML: nested too deeply"),
        (
            "engine: {}\nserver: {}\nengine: {}\n",
            "line 3, column 1: not valid YAML: the key 'engine' appears twice (first on line 1)",
        ),
        (
            "CONFIG_API_SERVER:\n  - name: a\n    weight: b\n    'name': c\n",
            "line 4, column 5: not valid YAML: the key 'name' appears twice (first on line 2)",
        ),
    ],
)
def test_unreadable_file_is_explained(tmp_path: Path, text: str | bytes, line: str) -> None:
    [found] = file_errors(tmp_path, text)
    assert found.startswith(line)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file$"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=": is a folder; name a YAML file$"):
        load_config(tmp_path)


def test_merge_keys_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(
        b"\xef\xbb\xbfCONFIG_API_SERVER:\n"
        b"  - &ada {weight: org/ada, name: ada, score: 3}\n"
        b"  - {<<: *ada, name: bora}\n"
    )
    members = load_config(path).members
    assert [(m.name, m.path, m.score) for m in members] == [
        ("ada", "org/ada", 3.0),
        ("bora", "org/ada", 3.0),
    ]


@given(st.text(max_size=60))
def test_no_text_gets_past_config_error(text: str) -> None:
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return
    for candidate in (data, {"CONFIG_API_SERVER": data}, {"CONFIG_API_SERVER": [data]}):
        with pytest.raises(ConfigError):
            parse(candidate)


# describe


NAMES = st.text(
    st.characters(exclude_characters="/", exclude_categories=["C", "Z"]), min_size=1, max_size=8
)
SCORES = st.floats(min_value=1e-300, max_value=1e300)
SIZES = st.sampled_from(["24GiB", "1.5GB", "300 MB"])


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    optional = {
        "max_memory": st.dictionaries(st.integers(0, 7) | st.just("cpu"), SIZES),
        "num_gpus": st.sampled_from([0, 0.5, 1, 2.0]),
        "score": SCORES | st.integers(1, 10**6),
        "quantization": st.sampled_from(["none", "8bit", "4bit"]),
        "num_cpus": st.floats(0, 64),
        "dtype": st.sampled_from(["auto", "float32", "float16", "bfloat16"]),
        "device": st.sampled_from(["auto", "cpu", "cuda"]),
        "revision": st.sampled_from(["main", "1234567", "null", "1e5", "été"]),
        "trust_remote_code": st.booleans(),
        "max_model_len": st.integers(1, 10**6) | st.none(),
        "num_threads": st.integers(1, 64) | st.none(),
    }
    members = [
        {"name": name, "weight": "org/x", **draw(st.fixed_dictionaries({}, optional=optional))}
        for name in names
    ]
    if draw(st.booleans()):
        members[0]["priority"] = "primary"
    gate = {"name": st.just("threshold"), "gate": st.sampled_from(names)}
    threshold = st.floats(0, 1) | st.sampled_from([0, 1])
    strategy = st.fixed_dictionaries(gate, optional={"threshold": threshold})
    top = {
        "NORM_TYPE_API_SERVER": st.sampled_from(["average", "score"]),
        "THRESHOLD_API_SERVER": threshold,
        "strategy": st.sampled_from(["every_step", "threshold"]) | strategy | st.none(),
        "engine": st.fixed_dictionaries(
            {},
            optional={
                "kv_cache_tokens": st.integers(1, 10**9) | st.none(),
                "speculation": st.fixed_dictionaries(
                    {"drafter": st.sampled_from(["none", "auto", *names])},
                    optional={"max_tokens": st.integers(1, 99)},
                ),
            },
        ),
        "server": st.fixed_dictionaries({}, optional={"port": st.integers(0, 65535)}),
        "ray": st.fixed_dictionaries({}, optional={"enabled": st.booleans()}),
    }
    return {"CONFIG_API_SERVER": members, **draw(st.fixed_dictionaries({}, optional=top))}


@given(configs())
def test_described_config_parses_to_the_same_config(data: dict[str, Any]) -> None:
    config = parse(data)
    assert parse(yaml.safe_load(describe(config))) == config
    assert sum(config.weights.values()) == pytest.approx(1.0)


def test_described_path_no_longer_depends_on_the_folder(tmp_path: Path) -> None:
    (tmp_path / "ada").mkdir()
    path = tmp_path / "c.yaml"
    path.write_text("CONFIG_API_SERVER: [{weight: ./ada, name: ada}]\n")
    config = load_config(path)
    assert config.members[0].path == str(tmp_path / "ada")
    assert parse(yaml.safe_load(describe(config))) == config
