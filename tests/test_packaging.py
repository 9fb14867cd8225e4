"""What `pip install .` installs: all of the package, and the demo that `gac ask` runs on."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from gac import __version__
from gac.cli.options import demo_config
from gac.config import load_config

ROOT = Path(__file__).parents[1]
NORWAY = "What is the capital of Norway?"
EXTRAS = ("dev", "eval", "otel")
REQUIREMENTS = ("requirements.txt", *(f"requirements-{extra}.txt" for extra in EXTRAS))
PIP = ("-m", "pip", "--disable-pip-version-check")
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation")


def run(*command: object, folder: Path) -> str:
    """Run in a folder that is not the repository, so that nothing comes from there."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_package_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "gac").rglob("*.py")}
    assert set(project["packages"]) == found | set(project["package-dir"])


def test_development_requirements_are_plain_lines() -> None:
    """An option such as `-r` in them is no requirement: pip could not install the package."""
    for name in REQUIREMENTS:
        for line in (ROOT / name).read_text().splitlines():
            assert line.startswith("#") or "==" in line, f"{name}: {line}"


def test_demo_is_found_in_the_repository() -> None:
    assert demo_config() == ROOT / "example_configs" / "demo.yaml"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, which leaves its traces there."""
    copy = tmp_path_factory.mktemp("tree") / "gac-server"
    copy.mkdir()
    for name in ("gac", "demo", "example_configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", *REQUIREMENTS, "README.md"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, *PIP, "wheel", *OFFLINE, "-w", folder, tree, folder=folder)
    [wheel] = folder.glob("gac_server-*.whl")
    return wheel


def environment(folder: Path) -> Path:
    """The python of a new environment that sees the packages of this one, and not this project."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    ours = sysconfig.get_path("purelib")
    scheme = {"base": str(folder), "platbase": str(folder)}
    (Path(sysconfig.get_path("purelib", "venv", scheme)) / "ours.pth").write_text(ours)
    return folder / "bin" / "python"


@pytest.mark.slow
def test_wheel_holds_the_package_the_examples_and_the_demo(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "gac").rglob("*.py")}
    examples = {f"gac/example_configs/{path.name}" for path in (ROOT / "example_configs").iterdir()}
    models = {f"gac/{path.relative_to(ROOT)}" for path in (ROOT / "demo" / "models").glob("*/*")}
    assert len(models) > 12
    assert {name for name in names if ".dist-info/" not in name} == code | examples | models
    assert {name.split("/")[0] for name in names} == {"gac", f"gac_server-{__version__}.dist-info"}


@pytest.mark.slow
def test_extras_are_what_the_files_of_requirements_say(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().splitlines()
    for extra in EXTRAS:
        listed = {line for line in lines if line.endswith(f'; extra == "{extra}"')}
        wanted = (ROOT / f"requirements-{extra}.txt").read_text().splitlines()
        assert len(listed) == sum("==" in line for line in wanted) and listed
    assert any("lm_eval[api,math]==" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_installed_command_answers_by_the_demo(
    how: str, wheel: Path, tree: Path, tmp_path: Path
) -> None:
    python = environment(tmp_path / "environment")
    what = ["--editable", tree] if how == "editable" else [wheel]
    run(python, *PIP, "install", *OFFLINE, *what, folder=tmp_path)
    gac = python.with_name("gac")
    assert run(gac, "--version", folder=tmp_path) == f"gac {__version__}\n"
    said = run(gac, "ask", NORWAY, folder=tmp_path).splitlines()
    names = [member.name for member in load_config(demo_config()).members]
    assert [line.split()[0] for line in said[: len(names) + 1]] == [*names, "together"]
    assert said[len(names)].endswith("The capital of Norway is Oslo.")
