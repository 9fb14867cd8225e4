"""Make an SVG of what a command printed, for the README.

With the demo running (`make serve`), from the top of the repository:

    FORCE_COLOR=1 python3 call.py \
        | .venv/bin/python docs/terminal_picture.py "python3 call.py" > docs/call.svg
"""

import io
import re
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

WIDTH = 84
FONTS = r"\s*@font-face \{.*?\}"
"""Rich names fonts on a server of others; a picture in a README may not load any."""


def picture(command: str, printed: str) -> str:
    """An SVG that shows the command and its output, as a terminal would."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"\033[2m$\033[0m {command}\n\n{printed}"))
    svg = console.export_svg(title="", theme=MONOKAI, unique_id="call")
    return re.sub(FONTS, "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")


if __name__ == "__main__":
    sys.stdout.write(picture(sys.argv[1], sys.stdin.read()))
