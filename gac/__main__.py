"""python -m gac: the same as gac_api_server.py."""

from gac.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
