"""Plots as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]


class Plot:
    """One figure of several panels side by side; written when the block ends without an error."""

    def __init__(self, path: Path, num_panels: int = 1, width: float = 7.2) -> None:
        self._path = path
        self._figure = Figure(figsize=(width * num_panels, 5.4), layout="constrained")
        self._axes: list[Axes] = list(self._figure.subplots(1, num_panels, squeeze=False)[0])

    def __enter__(self) -> "Plot":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._figure.savefig(self._path, dpi=110)
            print(f"\nplot: {self._path}")

    def _panel(self, place: int, title: str, xlabel: str, ylabel: str) -> Axes:
        axes = self._axes[place]
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axes.grid(alpha=0.3)
        return axes

    def lines(
        self, place: int, title: str, labels: tuple[str, str], series: Mapping[str, Points]
    ) -> None:
        """Connected points, a line a series; `labels` are those of x and y."""
        axes = self._panel(place, title, *labels)
        for name, points in series.items():
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
        axes.set_ylim(bottom=0)
        if any(series):
            axes.legend()

    def crosses(
        self,
        place: int,
        title: str,
        labels: tuple[str, str],
        points: Mapping[str, tuple[float, float, float]],
    ) -> None:
        """Named points (x, y and the standard error of y); `labels` are those of x and y."""
        axes = self._panel(place, title, *labels)
        for number, (name, (x, y, error)) in enumerate(points.items()):
            marker = "osD^vP"[number // 10 % 6]  # colours come again after ten
            axes.errorbar([x], [y], yerr=[error], fmt=marker, capsize=2, label=name)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))

    def stacks(
        self, place: int, title: str, xlabel: str, stacks: Mapping[str, Mapping[str, float]]
    ) -> None:
        """A horizontal bar a stack, made up of its parts."""
        axes = self._panel(place, title, xlabel, "")
        left = [0.0] * len(stacks)
        for part in next(iter(stacks.values())):
            widths = [stack[part] for stack in stacks.values()]
            axes.barh(list(stacks), widths, left=left, label=part)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        axes.legend()

    def bars(self, place: int, title: str, xlabel: str, values: Mapping[str, float]) -> None:
        """A horizontal bar a value, and a line at 1."""
        axes = self._panel(place, title, xlabel, "")
        axes.barh(list(values), list(values.values()))
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.invert_yaxis()
