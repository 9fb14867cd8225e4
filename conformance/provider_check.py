"""trustedrouter-provider-check: what a router of requests asks of a provider of the OpenAI API."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conformance.allowed import judge, read_exceptions, show
from conformance.servers import HERE

COMMAND = Path(sys.executable).parent / "trustedrouter-provider-check"


def run(url: str) -> bool:
    """Whether all happened as `provider_check.yaml` says."""
    exceptions = read_exceptions(HERE / "provider_check.yaml")
    verdict = judge(outcomes(report_on(url)), exceptions)
    show("provider check", verdict, exceptions)
    return verdict.is_good


def report_on(url: str) -> dict[str, Any]:
    """The report on tiers 1 to 5; tier 6 measures speed."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        asked = ("--base-url", f"{url}/v1", "--model", "gac", "--tier", "5", "--json", str(path))
        subprocess.run([str(COMMAND), *asked], check=False, stdout=subprocess.DEVNULL)
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return report


def outcomes(report: dict[str, Any]) -> dict[str, bool]:
    """By name of the check, whether it passed; those that did not apply are left out."""
    return {
        check["id"]: check["status"] == "pass"
        for check in report["checks"]
        if check["status"] != "skip"
    }
