"""Imports point down, heavy libraries stay on their floors, and nothing happens at import."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gac"
FLOORS = ["", "vocabulary", "decoding", "model", "members", "engine", "server", "cli"]
"""From the ground up; the first stands for the files of the package itself, and for `config/`."""
GROUND = {"config"}
ALLOWED_ON = {
    "tokenizers": {"vocabulary"},
    "torch": {"model"},
    "transformers": {"model"},
    "tqdm": {"model"},
    "ray": {"members"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "prometheus_client": {"server"},
    "opentelemetry": {"server"},
    "uvicorn": {"cli"},
    "typer": {"cli"},
    "rich": {"cli"},
    "lm_eval": {"cli"},
    "datasets": {"cli"},
    "pydantic": {"", "decoding", "server"},
    "yaml": {""},
}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager", "base"}
MAX_LINES = 300
MODULES = sorted(PACKAGE.rglob("*.py"))


def floor_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    # python -m gac is the command line, whatever folder it must lie in.
    if parts == ("__main__.py",):
        return "cli"
    return parts[0] if len(parts) > 1 and parts[0] not in GROUND else ""


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = FLOORS.index(floor_of(path))
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "gac":
            imported = parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""
            assert FLOORS.index(imported) <= here, f"imports {name}, which lies above it"
        elif parts[0] in ALLOWED_ON:
            assert floor_of(path) in ALLOWED_ON[parts[0]], f"{name} does not belong on this floor"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_named_after_what_they_hold(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_importing_everything_does_nothing() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
    ]
    program = f"""
import importlib, logging, signal, torch
before = (logging.root.handlers[:], signal.getsignal(signal.SIGTERM), torch.get_num_threads())
for name in {names!r}:
    importlib.import_module(name)
import ray
assert not ray.is_initialized(), "Ray was started"
after = (logging.root.handlers, signal.getsignal(signal.SIGTERM), torch.get_num_threads())
assert after == before, f"something was set up at import: {{before}} became {{after}}"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout


def test_importing_the_package_and_its_commands_is_cheap() -> None:
    heavy = {"ray", "torch", "fastapi", "transformers", "uvicorn", "numpy"}
    program = f"import gac.cli.main, sys; assert not {heavy} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
