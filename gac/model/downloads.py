"""How far a download from the Hugging Face Hub has come, told rather than drawn."""

from collections.abc import Callable
from typing import Any

from tqdm.auto import tqdm

Report = Callable[[float], None]
"""Told the share that is done, from 0 to 1."""


def counting_bar(report: Report) -> type:
    """A class of progress bars, for the Hub's `tqdm_class`, that reports what arrives."""

    class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("unit") == "B"  # others count files
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self._counts_bytes and self.total:
                report(min(1.0, self.n / self.total))

    return Bar
