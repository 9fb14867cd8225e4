"""tested_models.yaml follows its own schema and lists what the paper and the README list."""

import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

FILE = Path(__file__).parent.parent / "tested_models.yaml"
Text = Annotated[str, Field(min_length=1)]

# The paper's Table 7; the README's results table names a subset of these.
REPORTED = {
    "microsoft/Phi-3-mini-4k-instruct": 1,
    "meta-llama/Meta-Llama-3-8B-Instruct": 1,
    "openchat/openchat_3.5": 1,
    "openchat/openchat-3.5-0106": 1,
    "Qwen/Qwen1.5-14B-Chat": 1,
    "upstage/SOLAR-10.7B-Instruct-v1.0": 1,
    "NousResearch/Nous-Hermes-2-SOLAR-10.7B": 1,
    "01-ai/Yi-34B-Chat": 1,
    "Qwen/Qwen1.5-32B-Chat": 1,
    "NousResearch/Nous-Hermes-2-Mixtral-8x7B-DPO": 2,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 2,
    "meta-llama/Meta-Llama-3-70B-Instruct": 2,
    "Qwen/Qwen1.5-72B-Chat": 3,
    "Qwen/Qwen2-72B-Instruct": 3,
}
README_LATENCY = {
    "01-ai/Yi-34B-Chat": 67.96,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 96.64,
    "Qwen/Qwen1.5-72B-Chat": 102.11,
    "meta-llama/Meta-Llama-3-70B-Instruct": 150.32,
    "Qwen/Qwen2-72B-Instruct": 113.91,
}


class Entry(BaseModel):
    """What every entry says, whoever ran the model."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: Text
    parameters: int | None = Field(default=None, ge=1)
    memory: Text
    memory_source: Literal["computed", "measured", "reported"]
    tokenizer: Literal["sentencepiece_bpe", "byte_level_bpe", "unigram", "tiktoken"]
    latency_ms_per_token: float | None = Field(default=None, gt=0)
    latency_source: Text | None = None
    quirks: list[Text]

    @model_validator(mode="after")
    def latency_has_a_source(self) -> Self:
        if (self.latency_ms_per_token is None) != (self.latency_source is None):
            raise ValueError("latency_ms_per_token and latency_source go together")
        return self


class Gpus(BaseModel):
    """The hardware; `count` 0 is a CPU."""

    model_config = ConfigDict(strict=True, extra="forbid")

    count: int = Field(ge=0)
    kind: Text


class ReportedByOthers(Entry):
    """A model that others ran."""

    status: Literal["reported"]
    source: Text
    gpus: Gpus


class RunByUs(Entry):
    """A model that this project ran."""

    status: Literal["tested"]
    date: datetime.date
    how: Text
    gpus: Gpus | None = None


AnyEntry = TypeAdapter[ReportedByOthers | RunByUs](
    Annotated[ReportedByOthers | RunByUs, Field(discriminator="status")]
)


def read_entries() -> list[ReportedByOthers | RunByUs]:
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert list(data) == ["models"]
    return [AnyEntry.validate_python(item) for item in data["models"]]


def test_every_reported_model_is_listed_with_its_gpus() -> None:
    gpus = {e.name: e.gpus for e in read_entries() if isinstance(e, ReportedByOthers)}
    assert {name: gpu.count for name, gpu in gpus.items()} == REPORTED
    assert {gpu.kind for gpu in gpus.values()} == {"A100"}


def test_no_model_is_listed_twice() -> None:
    names = [entry.name for entry in read_entries()]
    assert len(names) == len(set(names))


def test_reported_latencies_of_the_readme() -> None:
    latency = {entry.name: entry.latency_ms_per_token for entry in read_entries()}
    assert {name: latency[name] for name in README_LATENCY} == README_LATENCY


def test_computed_memory_is_two_bytes_per_parameter() -> None:
    for entry in read_entries():
        if entry.memory_source == "computed":
            assert entry.parameters is not None, entry.name
            assert entry.memory == f"{2 * entry.parameters / 2**30:.1f}GiB", entry.name


def test_schema_takes_a_tested_entry() -> None:
    tested = yaml.safe_load(
        "{name: demo/ada, memory: 6MiB, memory_source: measured, tokenizer: unigram, quirks: [],"
        " status: tested, date: 2026-01-31, how: make check}"
    )
    assert isinstance(AnyEntry.validate_python(tested), RunByUs)
    with pytest.raises(ValidationError):
        AnyEntry.validate_python({**tested, "status": "reported"})
