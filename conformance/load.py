"""guidellm against the server that `make serve` starts: one table row for each number of clients.

`python -m conformance.load` starts the server; with `--url` it asks one that runs.  guidellm makes
prompts of a given length by the tokenizer of the first demo member.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conformance.servers import ROOT, SERVING
from tests.support.server_process import running

COMMAND = Path(sys.executable).parent / "guidellm"
TOKENIZER = ROOT / "demo" / "models" / "ada"
CONFIG = ROOT / "example_configs" / "demo.yaml"


def command(url: str, report: Path, asked: argparse.Namespace) -> list[str]:
    """What is run: each number of clients asks for a fixed number of texts of a fixed length."""
    lengths = f"prompt_tokens={asked.prompt_tokens},output_tokens={asked.output_tokens}"
    streams = ",".join(str(number) for number in asked.clients)
    options = {
        "--backend": f"kind=openai_http,target={url},model=gac",
        "--profile": "kind=concurrent,streams=1",
        "--constraint": f"kind=max_requests,count={asked.requests}",
        "--tokenizer": f"kind=hf_auto,model={TOKENIZER}",
        "--data": f"kind=synthetic_text,{lengths}",
        "--output": f"kind=json,path={report}",
    }
    flat = [part for pair in options.items() for part in pair]
    return [str(COMMAND), "run", *flat, "--override", "profile.streams", streams, *QUIET]


QUIET = ("--disable-progress",)


def row(benchmark: dict[str, Any]) -> str:
    """One number of clients: requests, tokens per second, first token and time between tokens."""
    metrics = benchmark["metrics"]
    totals = metrics["request_totals"]
    failed = totals["errored"] + totals["incomplete"]
    rate = metrics["output_tokens_per_second"]["successful"]["mean"]
    cells = [
        str(benchmark["config"]["strategy"]["streams"]),
        f"{totals['successful']}, {failed} failed",
        f"{rate:.0f}",
        *(
            f"{values['median']:.0f} / {values['percentiles']['p95']:.0f}"
            for name in ("time_to_first_token_ms", "inter_token_latency_ms")
            for values in [metrics[name]["successful"]]
        ),
    ]
    return f"| {' | '.join(cells)} |"


def show(report: dict[str, Any]) -> None:
    """The table of a report."""
    print("| clients | requests | tokens/s | first token, ms: median / p95 | between tokens, ms |")
    print("|---|---|---|---|---|")
    for benchmark in report["benchmarks"]:
        print(row(benchmark))


def measure(url: str, asked: argparse.Namespace) -> None:
    """Run guidellm and print its table."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        line = command(url, report, asked)
        print(f"guidellm {version('guidellm')}:", " ".join(line[1:]), flush=True)
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run(line, env=offline, check=True, stdout=subprocess.DEVNULL)
        show(json.loads(report.read_text("utf-8")))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance.load", description=__doc__)
    parser.add_argument("--url", help="a server that runs; without it, one is started")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=64, help="for each number of clients")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--output-tokens", type=int, default=64)
    asked = parser.parse_args(arguments)
    if asked.url:
        measure(asked.url.rstrip("/"), asked)
        return
    with running(CONFIG, python=SERVING) as server:
        measure(server.url, asked)


if __name__ == "__main__":
    main()
