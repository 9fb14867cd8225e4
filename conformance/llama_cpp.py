"""llama.cpp's own server tests, unchanged, against our server on their model, stories260K."""

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from conformance.allowed import judge, read_exceptions, show
from conformance.servers import HERE, ROOT, one_model_server

RELEASE = "llama-cpp-python==0.3.36"
"""Its source archive holds llama.cpp at 0c1e57098, tests included."""
TESTS = Path("tools/server/tests")
KEPT = ROOT / ".conformance" / "llama.cpp"
MODEL = ROOT.parent / "shared" / "models" / "stories260K"
FILES = (
    "unit/test_basic.py",
    "unit/test_chat_completion.py",
    "unit/test_completion.py",
    "unit/test_ignore_eos.py",
    "unit/test_tokenize.py",
)
"""The files about completions and tokens; the others are about what only llama-server has."""


def run(checkout: Path | None, model: Path = MODEL) -> bool | None:
    """Whether all happened as `llama_cpp.yaml` says; None where the model is not there.

    `checkout` is a folder with llama.cpp's source; without one, it is downloaded once.
    """
    if not (model / "config.json").exists():
        print(f"llama.cpp: left out, as the model {model} is not there")
        return None
    tests = (checkout or downloaded()) / TESTS
    exceptions = read_exceptions(HERE / "llama_cpp.yaml")
    started = time.monotonic()
    with one_model_server(model) as url:
        outcomes, messages = outcomes_of(tests, url)
    verdict = judge(outcomes, exceptions)
    for name in verdict.failed:
        print(f"\n{name}\n{messages[name]}")
    show("llama.cpp", verdict, exceptions)
    print(f"llama.cpp: {len(outcomes)} tests in {time.monotonic() - started:.0f} s")
    return verdict.is_good


def outcomes_of(tests: Path, url: str) -> tuple[dict[str, bool], dict[str, str]]:
    """Run the tests; by name, whether each passed, and how those failed that did."""
    with TemporaryDirectory() as folder:
        record = Path(folder) / "outcomes.json"
        environment = {
            **os.environ,
            "DEBUG_EXTERNAL": "1",
            "PORT": str(urlsplit(url).port),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{tests}",
            "OUTCOMES": str(record),
        }
        plugins = ("-p", "conformance.llama_cpp_plugin", "-p", "no:cacheprovider")
        flags = ("-q", "-rN", "--tb=no", "-m", "not slow", "--timeout=120", "-W", "ignore")
        command = [sys.executable, "-m", "pytest", *plugins, *flags, *FILES]
        subprocess.run(command, cwd=tests, env=environment, check=False)
        found = json.loads(record.read_text("utf-8"))
        return found["passed"], found["messages"]


def downloaded() -> Path:
    """A folder with llama.cpp's tests, from a release that holds its source."""
    if not (KEPT / TESTS).exists():
        print(f"llama.cpp: downloading {RELEASE}")
        with TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
            flags = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder]
            subprocess.run([*pip, *flags, RELEASE], check=True)
            (archive,) = Path(folder).glob("*.tar.gz")
            _unpack(archive)
    return KEPT


def _unpack(archive: Path) -> None:
    """Keep the tests alone."""
    marker = f"/vendor/llama.cpp/{TESTS}/"
    with tarfile.open(archive) as source:
        for item in source:
            _, found, name = item.name.partition(marker)
            if found and item.isfile():
                item.name = str(TESTS / name)
                source.extract(item, KEPT, filter="data")
