"""README and docs name everything a user can set or call, and nothing that is not there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from gac.cli import api_server
from gac.cli import main as commands
from gac.config import AggregationConfig, Config, StrategyConfig, parse_config
from gac.config.catalogue import aggregations, strategies
from gac.server.schemas import GenerateAnswer, GenerateBody
from gac.server.tokenizer_routes import DetokenizeBody, TokenizeAnswer, TokenizeBody
from gac.trace import Outcome, Why

ROOT = Path(__file__).parents[1]
TOKENIZER = {*TokenizeBody.model_fields, *TokenizeAnswer.model_fields, *DetokenizeBody.model_fields}
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "demo/README.md",
    ROOT / "reproduce/README.md",
    *(ROOT / "docs").glob("*.md"),
]
MOST_WORDS = 1300
FOLDERS = (
    "gac",
    "tests",
    "benchmarks",
    "conformance",
    "demo",
    "docs",
    "example_configs",
    "reproduce",
)
FILES = [
    path.relative_to(ROOT).as_posix()
    for place in (ROOT.glob("*"), *((ROOT / folder).rglob("*.*") for folder in FOLDERS))
    for path in place
]
PAGE_IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a type is made of."""
    declared = {StrategyConfig: strategies, AggregationConfig: aggregations}.get(annotation)
    if declared is not None:
        yield from declared().declared.values()
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def fields_of(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a model and of all models within it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in models_in(field.annotation):
            yield from fields_of(inner)


def is_named(name: str, text: str) -> bool:
    """Whether it stands in code: between backticks, as a word of its own."""
    return any(re.search(rf"(?<![\w-]){re.escape(name)}\b", code) for code in code_in(text))


def code_in(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", prose)


@pytest.mark.parametrize("key", sorted(set(fields_of(Config)) | set(Config.model_fields)))
def test_every_key_of_a_configuration_is_named(key: str) -> None:
    internal = {"norm_type", "members", "threshold"}  # their YAML keys are tested, too
    pages = text_of("docs/configuration.md") + text_of("docs/strategies.md")
    assert key in internal or is_named(key, pages)


def test_every_value_of_a_choice_is_named() -> None:
    pages = text_of("docs/configuration.md") + text_of("docs/strategies.md")
    for name in choices_of(Config):
        assert is_named(name, pages), name


def choices_of(model: type[BaseModel]) -> Iterator[str]:
    for field in model.model_fields.values():
        yield from (part for part in literals_in(field.annotation))
        for inner in models_in(field.annotation):
            yield from choices_of(inner)


def literals_in(annotation: object) -> Iterator[str]:
    for part in get_args(annotation):
        if isinstance(part, str) and part.isidentifier():
            yield part
        elif not isinstance(part, str):
            yield from literals_in(part)


@pytest.mark.parametrize(
    "field",
    sorted({*fields_of(GenerateBody), *fields_of(GenerateAnswer), *TOKENIZER, *Outcome, *Why}),
)
def test_every_field_of_http_is_named(field: str) -> None:
    assert is_named(field, text_of("docs/http.md"))


def test_every_endpoint_is_named() -> None:
    for path in ("/api/generate", "/status", "/health/live", "/health/ready"):
        assert is_named(path, text_of("docs/http.md"))
    for path in ("/health", "/ping", "/version", "/v1/chat/completions", "/v1/completions"):
        assert is_named(path, text_of("docs/http.md"))
    for path in ("/tokenize", "/detokenize", "/tokenizer_info"):
        assert is_named(path, text_of("docs/http.md"))


def parameters(app: typer.Typer) -> dict[str, set[str]]:
    """The flags of every command."""
    command: Any = typer.main.get_command(app)
    found = {"": command, **getattr(command, "commands", {})}
    return {
        name: {
            flag
            for one in its.params
            for flag in (*one.opts, *one.secondary_opts)
            if flag.startswith("--")
        }
        for name, its in found.items()
    }


def test_every_command_and_flag_is_named() -> None:
    page = text_of("docs/configuration.md")
    for app in (commands.app, api_server.app):
        for name, flags in parameters(app).items():
            assert is_named(f"gac {name}".strip(), page)
            assert all(is_named(flag, page) for flag in flags), flags


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    shown = re.findall(r"(?:-m |\.venv/bin/|`)gac ([a-z]+)((?: [^\s`]+)*)", text)
    known = parameters(commands.app)
    for name, rest in shown:
        assert name in known, f"gac {name}"
        assert set(re.findall(r"--[a-z-]+", rest)) <= known[name] | {"--help"}
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.M):
        assert f"\n{target}:" in text_of("Makefile"), f"make {target}"
    for module in re.findall(r"python -m ((?:benchmarks|conformance|demo)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), module


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), target


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_files_that_are_named_exist(page: Path) -> None:
    mine = {"my_ensemble.yaml", "answer.json", "/openapi.json", "config.yaml", "evaluation.json"}
    named = re.findall(
        r"(?<![\w./<])([\w/]+\.(?:py|yaml|md|json|jinja))\b", page.read_text("utf-8")
    )
    for name in set(named) - mine:
        assert any(f"/{path}".endswith(f"/{name}") for path in FILES), name


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def test_configurations_that_are_shown_are_valid() -> None:
    members = [{"weight": f"org/{name}", "name": name} for name in ("ada", "bora")]
    pages = [page for page in PAGES if page.name != "extending.md"]  # it needs another package
    shown = [yaml.safe_load(block) for page in pages for block in blocks(page, "yaml")]
    assert len(shown) >= 4
    for data in shown:
        parse_config({"CONFIG_API_SERVER": members, **data}, "docs", ROOT)


def test_the_request_that_is_shown_is_valid() -> None:
    [body] = re.findall(r"-d '(\{.*?\})'", README.read_text("utf-8"), re.S)
    GenerateBody.model_validate(json.loads(body))
    [answer] = blocks(README, "json")
    assert set(re.findall(r'^ ?\{?"(\w+)"|(?<=\], )"(\w+)"', answer)) and all(
        name in GenerateAnswer.model_fields or name in ("prompt_tokens", "completion_tokens",
                                                        "ada", "bora", "cleo")
        for name in re.findall(r'"(\w+)":', answer)
    )  # fmt: skip


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").split()) <= MOST_WORDS


def test_the_picture_is_of_call_py_and_loads_nothing() -> None:
    picture = text_of("docs/call.svg").replace("&#160;", " ")
    question = re.search(r'^QUESTION = "(.*)"$', text_of("call.py"), re.M)
    assert question and question[1] in picture and "together" in picture
    assert "url(http" not in picture and "@font-face" not in picture


def test_no_placeholder_is_left() -> None:
    for page in PAGES:
        assert not re.findall(r"@[A-Z]+@|TODO|FIXME|XXX", page.read_text("utf-8"))
