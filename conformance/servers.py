"""The servers that the suites ask: the real command, with the packages of .venv only."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.support.server_process import ROOT, demo_config, running

SERVING = ROOT / ".venv" / "bin" / "python"
"""The interpreter that serves: not the one of the clients, whose packages differ."""
DEMO = ("ada", "bora", "cleo")
HERE = Path(__file__).parent


@contextmanager
def demo_server() -> Iterator[str]:
    """The demo members; gives the URL. All members in one process, as that starts sooner."""
    with TemporaryDirectory() as folder:
        config = demo_config(Path(folder), DEMO, ray={"enabled": False})
        with running(config, python=SERVING) as server:
            yield server.url


@contextmanager
def one_model_server(model: Path) -> Iterator[str]:
    """One model that comes without a chat template, with that of ChatML; gives the URL."""
    member = {
        "name": model.name,
        "weight": str(model),
        "chat_template": str(HERE / "chatml.jinja"),
    }
    sections = {"ray": {"enabled": False}, "engine": {"max_queued": 64}}
    with TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(yaml.safe_dump({"CONFIG_API_SERVER": [member], **sections}), "utf-8")
        with running(config, python=SERVING) as server:
            yield server.url
