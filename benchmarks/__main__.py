"""All benchmarks, one after the other; the last line merges their lines of JSON."""

import json
import sys
from collections.abc import Sequence

from benchmarks import (
    memory_bench,
    quality_bench,
    runner_bench,
    scaling_bench,
    serve_bench,
    speculation_bench,
    step_bench,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every benchmark with the options that all of them have."""
    benches = (
        step_bench,
        speculation_bench,
        serve_bench,
        scaling_bench,
        memory_bench,
        runner_bench,
        quality_bench,
    )
    results = [bench.main(arguments) for bench in benches]
    print(json.dumps({result["benchmark"]: result for result in results}))


if __name__ == "__main__":
    main(sys.argv[1:])
