"""The rows of the papers' tables, each with the configuration and the command that runs it."""
