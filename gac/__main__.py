"""python -m gac: the same as the command `gac`."""

from gac.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
