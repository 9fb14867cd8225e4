"""Start the server: python gac_api_server.py --config-path X --host H --port P"""

from gac.cli.api_server import entry_point

if __name__ == "__main__":
    entry_point()
