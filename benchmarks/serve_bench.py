"""What clients see: TTFT, ITL and tokens a second, at several loads.

Every client is a thread that reads the events of one engine as they come.  In the closed loop a
client sends its next request when the last has ended; in the open loop requests arrive as a Poisson
process, at shares of the rate that the closed loop reached.  The HTTP server, a process of its own,
is asked for whole answers and for streams; its rounds alternate with those of the engine.
"""

import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.clients import Heard, closed_loop, figures, open_loop
from benchmarks.http_load import Ask, Served, Server, load, serving
from benchmarks.lineups import Workshop
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


@dataclass(frozen=True)
class Http:
    """What clients get over HTTP, beside as many that read the engine in this process."""

    engine: float
    whole: Served
    many_whole: Served
    many_streamed: Served


def measure_http(running: Running, server: Server, loads: Loads, rounds: int) -> Http:
    """Medians of the rounds, in which all take turns."""
    few, many = http_clients(loads.concurrent)

    def over_http(count: int, stream: bool) -> Any:
        ask = Ask(loads.num_tokens, stream)
        text = running.lineup.text
        return lambda place: load(
            server,
            [
                [text(10_000 * place + 100 * client + n) for n in range(loads.requests_each)]
                for client in range(count)
            ],
            ask,
        )

    def of_the_engine(place: int) -> float:
        heard = closed_loop(running.engine, loads.of_clients(running, place, few))
        return _figures(heard, loads)["tokens/s"]

    measures: dict[str, Any] = {
        "engine": of_the_engine,
        "whole": over_http(few, stream=False),
        "many_whole": over_http(many, stream=False),
        "many_streamed": over_http(many, stream=True),
    }
    found = alternate(measures, rounds)
    served = {name: _median(found[name]) for name in measures if name != "engine"}
    return Http(statistics.median(found["engine"]), **served)


def _median(served: Sequence[Served]) -> Served:
    tokens_per_s = statistics.median(one.tokens_per_s for one in served)
    return Served(tokens_per_s, median_by_key([one.cpu_s for one in served]))


def http_clients(concurrent: Iterable[int]) -> tuple[int, int]:
    """How many ask the HTTP server, few and many: 16 and 64, or fewer in a quick run."""
    return min(HTTP_CLIENTS, max(concurrent)), max(concurrent)


def http_ratios(http: Http, few: int, many: int) -> dict[str, float]:
    """What HTTP and streaming leave of the tokens a second."""
    return {
        f"tokens/s over HTTP / of the engine, {few} clients": (
            http.whole.tokens_per_s / http.engine
        ),
        f"tokens/s of {many} clients that stream / that do not": (
            http.many_streamed.tokens_per_s / http.many_whole.tokens_per_s
        ),
    }


def show_http(http: Http, few: int, many: int) -> None:
    """A table: tokens a second, and the seconds of processors that each process took."""
    measured = {
        f"{few} clients, whole answers": http.whole,
        f"{many} clients, whole answers": http.many_whole,
        f"{many} clients that stream": http.many_streamed,
    }
    rows = [
        (name, served.tokens_per_s, *served.cpu_s.values()) for name, served in measured.items()
    ]
    blanks = (float("nan"),) * len(http.whole.cpu_s)
    rows.insert(0, (f"{few} readers of the engine", http.engine, *blanks))
    processes = [f"{name}, CPU s" for name in http.whole.cpu_s]
    show_table("HTTP", ["", "tokens/s", *processes], rows)


def show(closed: Mapping[int, Figures], opened: Mapping[float, Figures]) -> None:
    """Tables."""
    columns = list(next(iter(closed.values())))
    rows = [(f"{count} clients", *found.values()) for count, found in closed.items()]
    show_table("Closed loop: times in ms", ["", *columns], rows)
    rows = [(f"{share:.0%} of the closed loop", *found.values()) for share, found in opened.items()]
    show_table("Open loop: times in ms", ["", *columns], rows)


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


def measure_engine(
    running: Running, loads: Loads, options: Any
) -> tuple[dict[str, float], dict[str, Any]]:
    """The closed and the open loop: ratios, and what they are of."""
    closed = measure_closed(running, loads, options.rounds)
    most = closed[max(closed)]["tokens/s"] / options.tokens
    rates = {share: share * most for share in SHARES}
    opened = measure_open(running, loads, rates, options.rounds)
    show(closed, opened)
    plot(closed, opened, options.out)
    ratios = {
        f"tokens/s of {count} clients / of one": found["tokens/s"] / closed[1]["tokens/s"]
        for count, found in closed.items()
        if count > 1
    }
    return ratios, {"closed": closed, "open": opened, "rates": rates}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    known = parser(__doc__, rounds=3, tokens=32)
    known.add_argument("--http-only", action="store_true", help="only what HTTP costs")
    options = parse(known, arguments)
    about = announce("serve", options, MODELS)
    loads = Loads(CONCURRENT, requests_each=2, open_requests=40, num_tokens=options.tokens)
    if options.quick:
        loads = Loads((1, 8), requests_each=1, open_requests=8, num_tokens=options.tokens)
    on_ray = options.members == "ray"
    ratios: dict[str, float] = {}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Stage(on_ray) as stage:
        lineup = Workshop(Path(folder), options.quick).small_pair()
        with stage.start(lineup) as running:
            if not options.http_only:
                ratios, found = measure_engine(running, loads, options)
            with serving(lineup, on_ray, Path(folder)) as server:
                http = measure_http(running, server, loads, options.rounds)
    few, many = http_clients(loads.concurrent)
    show_http(http, few, many)
    return finish(about, ratios | http_ratios(http, few, many), http=asdict(http), **found)


if __name__ == "__main__":
    main()
