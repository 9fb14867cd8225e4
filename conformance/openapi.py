"""schemathesis: requests drawn from our OpenAPI document, right and wrong ones."""

import os
import subprocess
import sys
from pathlib import Path

from conformance.servers import HERE, ROOT

COMMAND = Path(sys.executable).parent / "schemathesis"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
"""All but those about access; `positive_data_acceptance` is left out, as a document cannot say
all that a request must hold (a prompt has to fit the context, for one)."""


def run(url: str, examples: int = 40) -> bool:
    """Whether no answer breaks a promise; `examples` bounds the requests of each operation."""
    options = {
        "--checks": ",".join(CHECKS),
        "--phases": "examples,coverage,fuzzing",
        "--mode": "all",
        "--max-examples": str(examples),
        "--seed": "1",
        "--request-timeout": "30",
        "--max-response-time": "30",
        "--suppress-health-check": "all",
    }
    flags = ["--continue-on-failure", "--generation-deterministic", "--no-shrink"]
    flat = [part for pair in options.items() for part in pair]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "conformance.openapi_hooks",
        "PYTHONPATH": str(ROOT),
    }
    command = [str(COMMAND), "run", f"{url}/openapi.json", *flat, *flags]
    return subprocess.run(command, cwd=HERE, env=environment, check=False).returncode == 0
