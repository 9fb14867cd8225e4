"""What clients see: TTFT, ITL and tokens a second, at several loads.

Every client is a thread that reads the events of one engine as they come.  In the closed loop a
client sends its next request when the last has ended; in the open loop requests arrive as a Poisson
process, at shares of the rate that the closed loop reached.  The HTTP server, a process of its own,
is asked for whole answers.
"""

import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clients import Heard, closed_loop, figures, open_loop
from benchmarks.http_load import serving, tokens_per_second
from benchmarks.lineups import Lineup, Workshop
from benchmarks.plots import Plot
from benchmarks.reporting import announce, finish, parse, parser, show_table
from benchmarks.rounds import alternate, median_by_key
from benchmarks.running import Running, Stage

MODELS = "two random Llamas of 15M parameters that share one vocabulary"
CONCURRENT = (1, 4, 16, 64)
SHARES = (0.25, 0.5, 0.8)
HTTP_CLIENTS = 16
SEED = 5

Figures = dict[str, float]


@dataclass(frozen=True)
class Loads:
    """How many clients and requests there are; the open loop's arrivals are seeded by round."""

    concurrent: Sequence[int]
    requests_each: int
    open_requests: int
    num_tokens: int

    def of_clients(self, running: Running, place: int, count: int) -> list[list[Any]]:
        """The requests of so many clients; one alone sends as many as four would."""
        each = self.requests_each * (4 if count == 1 else 1)
        requests = running.requests(place, count * each, self.num_tokens)
        return [requests[client::count] for client in range(count)]


def measure_closed(running: Running, loads: Loads, rounds: int) -> dict[int, Figures]:
    """Medians over the rounds at every number of clients."""

    def measure(count: int) -> Any:
        return lambda place: _figures(
            closed_loop(running.engine, loads.of_clients(running, place, count)), loads
        )

    found = alternate({str(count): measure(count) for count in loads.concurrent}, rounds)
    return {int(count): median_by_key(of_rounds) for count, of_rounds in found.items()}


def measure_open(
    running: Running, loads: Loads, rates: Mapping[float, float], rounds: int
) -> dict[float, Figures]:
    """Medians over the rounds at every share of the closed loop's rate, in requests a second."""

    def measure(per_second: float) -> Any:
        def at(place: int) -> Figures:
            requests = running.requests(place, loads.open_requests, loads.num_tokens)
            return _figures(open_loop(running.engine, requests, per_second, SEED + place), loads)

        return at

    found = alternate({str(share): measure(rate) for share, rate in rates.items()}, rounds)
    return {float(share): median_by_key(of_rounds) for share, of_rounds in found.items()}


def _figures(heard: Sequence[Heard], loads: Loads) -> Figures:
    assert all(len(one.read_at) == loads.num_tokens for one in heard)
    return figures(heard)


def measure_http(lineup: Lineup, loads: Loads, folder: Path, options: Any) -> float:
    """Tokens a second that the HTTP server's clients get; the median of the rounds."""
    count = http_clients(loads.concurrent)
    with serving(lineup, options.members == "ray", folder) as url:

        def ask(place: int) -> float:
            texts = [
                [lineup.text(10_000 * place + 100 * client + n) for n in range(loads.requests_each)]
                for client in range(count)
            ]
            return tokens_per_second(url, texts, loads.num_tokens)

        return statistics.median(alternate({"http": ask}, options.rounds)["http"])


def http_clients(concurrent: Iterable[int]) -> int:
    """How many ask the HTTP server: 16, or fewer in a quick run."""
    return min(HTTP_CLIENTS, max(concurrent))


def show(closed: Mapping[int, Figures], opened: Mapping[float, Figures], http: float) -> None:
    """Tables."""
    columns = list(next(iter(closed.values())))
    rows = [(f"{count} clients", *found.values()) for count, found in closed.items()]
    show_table("Closed loop: times in ms", ["", *columns], rows)
    rows = [(f"{share:.0%} of the closed loop", *found.values()) for share, found in opened.items()]
    show_table("Open loop: times in ms", ["", *columns], rows)
    show_table("HTTP", ["", "tokens/s"], [(f"{http_clients(closed)} clients", http)])


def plot(closed: Mapping[int, Figures], opened: Mapping[float, Figures], out: Path) -> None:
    """Three panels: throughput and times against clients, times against load."""
    with Plot(out / "serve.png", 3) as panels:
        throughput = [(count, found["tokens/s"]) for count, found in closed.items()]
        panels.lines(0, "closed loop", ("clients", "tokens/s"), {"tokens/s": throughput})
        times = [key for key in next(iter(closed.values())) if key != "tokens/s"]
        for place, (title, label, found_by_load) in enumerate(
            [("closed loop", "clients", closed), ("open loop", "load", opened)], start=1
        ):
            lines = {t: [(load, found[t]) for load, found in found_by_load.items()] for t in times}
            panels.lines(place, title, (label, "ms"), lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    options = parse(parser(__doc__, rounds=3, tokens=32), arguments)
    about = announce("serve", options, MODELS)
    loads = Loads(CONCURRENT, requests_each=2, open_requests=40, num_tokens=options.tokens)
    if options.quick:
        loads = Loads((1, 8), requests_each=1, open_requests=8, num_tokens=options.tokens)
    on_ray = options.members == "ray"
    with tempfile.TemporaryDirectory() as folder, Stage(on_ray) as stage:
        lineup = Workshop(Path(folder), options.quick).small_pair()
        with stage.start(lineup) as running:
            closed = measure_closed(running, loads, options.rounds)
            most = closed[max(closed)]["tokens/s"] / options.tokens
            rates = {share: share * most for share in SHARES}
            opened = measure_open(running, loads, rates, options.rounds)
        http = measure_http(lineup, loads, Path(folder), options)
    show(closed, opened, http)
    plot(closed, opened, options.out)
    ratios = {
        f"tokens/s of {count} clients / of one": found["tokens/s"] / closed[1]["tokens/s"]
        for count, found in closed.items()
        if count > 1
    }
    count = http_clients(closed)
    ratios[f"tokens/s over HTTP / of the engine, {count} clients"] = (
        http / closed[count]["tokens/s"]
    )
    return finish(about, ratios, closed=closed, open=opened, http_tokens_per_s=http, rates=rates)


if __name__ == "__main__":
    main()
