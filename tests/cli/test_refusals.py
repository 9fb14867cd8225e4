"""A bad configuration or model: one message on standard error, and an exit code that tells."""

import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gac import __version__
from gac.cli import api_server, main
from gac.cli.serve import listen
from gac.config import ServerConfig, load_config
from gac.config.devices import check_devices
from gac.errors import ConfigError
from tests.support.fake_service import until
from tests.support.server_process import ROOT, ServerProcess, demo_config

ADA = ROOT / "demo" / "models" / "ada"
IN_PROCESS = {"enabled": False}


def members(**changes: Any) -> list[dict[str, Any]]:
    return [{"weight": str(ADA), "name": "ada", **changes}]


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-key": ({"CONFIG_API_SERVR": []}, "did you mean CONFIG_API_SERVER?"),
    "unknown-member-key": (
        {"CONFIG_API_SERVER": members(num_gpu=1)},
        "CONFIG_API_SERVER[0] (ada).num_gpu: unknown key; did you mean num_gpus?",
    ),
    "wrong-type": ({"server": {"port": "8000"}}, "server.port: '8000' is not allowed"),
    "two-primaries": (
        {
            "CONFIG_API_SERVER": [
                *members(priority="primary"),
                *members(name="bora", priority="primary"),
            ]
        },
        "'ada' and 'bora' are primary; only one member may be",
    ),
    "no-directory": (
        {"CONFIG_API_SERVER": members(weight="/no/such/folder")},
        "/no/such/folder': there is no such folder",
    ),
    "cpu-with-gpus": (
        {"CONFIG_API_SERVER": members(device="cpu", num_gpus=0.5)},
        "CONFIG_API_SERVER[0] (ada).device: 'cpu' is not allowed with num_gpus: 0.5",
    ),
    "cuda-without-gpus": (
        {"CONFIG_API_SERVER": members(device="cuda")},
        "CONFIG_API_SERVER[0] (ada).device: 'cuda' is not allowed with num_gpus: 0",
    ),
    "gpu-out-of-reach": (
        {"CONFIG_API_SERVER": members(num_gpus=2, max_memory={0: "1GiB", 2: "1GiB"})},
        "max_memory: there is no GPU 2 with num_gpus: 2; the member sees GPUs 0 to 1",
    ),
    "gpu-without-any": (
        {"CONFIG_API_SERVER": members(max_memory={0: "1GiB"})},
        "max_memory: there is no GPU 0 with num_gpus: 0; the member sees none",
    ),
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message of a command line that must not get as far as loading anything."""
    for run in (api_server.main, lambda given: main.main(["serve", *given])):
        assert run(arguments) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize("name", CONFIGS)
def test_bad_configuration_is_exit_2(name: str, tmp_path: Path, capsys: Any) -> None:
    sections, words = CONFIGS[name]
    path = demo_config(tmp_path, **sections)
    message = refused(capsys, "--config-path", str(path))
    assert words in message
    assert message.startswith(f"error: {path}: ")


def test_missing_file_is_exit_2(tmp_path: Path, capsys: Any) -> None:
    message = refused(capsys, "--config-path", str(tmp_path / "none.yaml"))
    assert message == f"error: {tmp_path}/none.yaml: there is no such file\n"


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_port_out_of_range_is_exit_2(port: str, tmp_path: Path, capsys: Any) -> None:
    path = demo_config(tmp_path)
    message = refused(capsys, "--config-path", str(path), f"--port={port}")
    assert message == (
        f"error: --port: {port} is not allowed; must be a whole number, 0 to 65535\n"
    )


def test_taken_port_is_exit_3_before_anything_is_loaded(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.setswitchinterval", lambda seconds: None)
    path = demo_config(tmp_path)
    # As another server does it, that has not loaded yet.
    with listen(ServerConfig(port=0)) as taken:
        port = taken.getsockname()[1]
        assert main.main(["serve", "--config-path", str(path), f"--port={port}"]) == 3
    assert capsys.readouterr().err == (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


def test_host_that_is_none_is_exit_3(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.setswitchinterval", lambda seconds: None)
    path = demo_config(tmp_path)
    for host in ("192.0.2.1", "no such host", "x" * 80):
        assert api_server.main(["--config-path", str(path), "--host", host]) == 3
        assert capsys.readouterr().err.startswith(f"error: cannot listen on {host}:8000: ")


@pytest.mark.parametrize(
    "arguments", [[], ["--config-path", "x", "--prot", "1"], ["--config-path", "x", "--port", "x"]]
)
def test_wrong_options_are_exit_2(arguments: list[str], capsys: Any) -> None:
    assert api_server.main(arguments) == 2
    assert "Error: " in capsys.readouterr().err
    assert main.main(["serve", *arguments]) == 2
    assert "Error: " in capsys.readouterr().err


def test_wrong_commands_are_exit_2(capsys: Any) -> None:
    assert main.main(["srve"]) == 2
    assert "Did you mean 'serve'?" in capsys.readouterr().err
    assert main.main([]) == 2
    assert "Usage: gac " in capsys.readouterr().err


def test_help_and_version_are_exit_0(capsys: Any) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"gac {__version__}\n"
    for command in ("serve", "check", "replay"):
        assert main.main([command, "--help"]) == 0
        assert "--config-path" in capsys.readouterr().out


def test_example_configurations_do_not_contradict_themselves() -> None:
    for path in sorted((ROOT / "example_configs").iterdir()):
        check_devices(load_config(path))


def test_without_ray_every_gpu_can_be_seen(tmp_path: Path) -> None:
    sections = {"CONFIG_API_SERVER": members(max_memory={3: "1GiB"})}
    check_devices(load_config(demo_config(tmp_path, **sections, ray=IN_PROCESS)))
    with pytest.raises(ConfigError):
        check_devices(load_config(demo_config(tmp_path, **sections)))


def broken(folder: Path, how: str) -> Path:
    """A copy of a demo member with one fault."""
    copy = folder / "broken"
    shutil.copytree(ADA, copy)
    weights = copy / "model.safetensors"
    if how == "half":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "none":
        weights.unlink()
    elif how == "lowercase":
        path = copy / "tokenizer.json"
        tokenizer = json.loads(path.read_text("utf-8"))
        tokenizer["normalizer"] = {"type": "Lowercase"}
        path.write_text(json.dumps(tokenizer), "utf-8")
    return copy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "ray", "words"),
    [
        pytest.param("half", True, "a weight file is damaged", marks=pytest.mark.ray),
        ("none", False, "cannot load"),
        ("lowercase", False, "broken"),
    ],
)
def test_bad_model_is_exit_3_and_leaves_nothing(
    how: str, ray: bool, words: str, tmp_path: Path
) -> None:
    bad = {"weight": str(broken(tmp_path, how)), "name": "broken"}
    config = demo_config(tmp_path, CONFIG_API_SERVER=[*members(), bad], ray={"enabled": ray})
    server = ServerProcess(config)
    try:
        ended = server.end(None, within_s=60.0)
        output = server.output
    finally:
        server.close()
    assert ended.code == 3
    assert ended.left == []
    [message] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "'broken'" in message and words in message
    assert output.endswith(message + "\n")
    assert "Traceback" not in output
    print(message)


@pytest.mark.slow
@pytest.mark.ray
def test_check_prints_the_plan_and_whether_it_fits(tmp_path: Path) -> None:
    configs = []
    for name, sections in (("fits", {}), ("not", {"CONFIG_API_SERVER": members(num_gpus=64)})):
        (tmp_path / name).mkdir()
        configs.append(demo_config(tmp_path / name, **sections))
    with ThreadPoolExecutor(2) as pool:
        fits, does_not = pool.map(run_check, configs)
    assert (fits.returncode, fits.stderr) == (0, "")
    for part in ("NORM_TYPE_API_SERVER: average", "Union vocabulary: ", "words alike"):
        assert part in fits.stdout
    assert "Placement plan: 2 members, one Ray actor each" in fits.stdout
    assert fits.stdout.endswith("  fits\n")

    assert does_not.returncode == 3
    assert "ada: 64 GPU; quantization none" in does_not.stdout
    assert does_not.stdout.endswith("  does not fit\n")
    assert does_not.stderr.startswith("error: member 'ada' asks for 64 GPU")
    assert len(does_not.stderr.splitlines()) == 1


def run_check(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gac", "check", "--config-path", str(config)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_check_is_not_exit_0(stop: signal.Signals, tmp_path: Path) -> None:
    server = ServerProcess(demo_config(tmp_path), "--check")
    try:
        server.wait_for("Placement plan")
        assert until(server.descendants)  # Ray starts
        ended = server.end(stop)
    finally:
        server.close()
    assert ended.code == 128 + stop
    assert ended.left == []
