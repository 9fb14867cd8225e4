"""Run real clients and public suites against the real server, and print their versions."""

import argparse
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from conformance import llama_cpp, openapi, provider_check
from conformance.servers import ROOT, SERVING, demo_server

PACKAGES = (
    "openai",
    "langchain-openai",
    "litellm",
    "schemathesis",
    "trustedrouter-provider-check",
)


def clients() -> bool:
    """openai-python in the server's own environment, the others in theirs."""
    flags = ["-q", "-W", "ignore", "--durations", "3"]  # warnings of other people's code
    own = [str(SERVING), "-m", "pytest", "-q", "tests/clients"]
    others = [sys.executable, "-m", "pytest", *flags, "conformance"]
    return all([_succeeds(own), _succeeds(others)])


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def print_versions() -> None:
    """The clients and suites that are run."""
    print(f"Python {platform.python_version()}")
    for package in PACKAGES:
        print(f"{package} {version(package)}")
    print(llama_cpp.RELEASE, "(its source holds llama.cpp and its tests)")
    if curl := shutil.which("curl"):
        print(subprocess.check_output([curl, "--version"], text=True).splitlines()[0])


def _with_demo(suite: Callable[[str], bool]) -> bool:
    with demo_server() as url:
        return suite(url)


def main() -> int:
    """Run the parts that are named, or all; 0 if all is as it must be."""
    parts: dict[str, Callable[[Path | None], bool | None]] = {
        "clients": lambda _: clients(),
        "openapi": lambda _: _with_demo(openapi.run),
        "provider": lambda _: _with_demo(provider_check.run),
        "llama.cpp": llama_cpp.run,
    }
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}")
    parser.add_argument("--llama-cpp", type=Path, help="a folder with llama.cpp's source")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    print_versions()
    results: dict[str, str] = {}
    for name in asked.parts or parts:
        started = time.monotonic()
        print(f"\n== {name}", flush=True)
        good = parts[name](asked.llama_cpp)
        words = {True: "good", False: "NOT GOOD", None: "left out"}[good]
        results[name] = f"{words}, {time.monotonic() - started:.0f} s"
    print("\n== results", *(f"{name}: {result}" for name, result in results.items()), sep="\n")
    return int(any("NOT GOOD" in result for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
