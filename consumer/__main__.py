"""`python -m consumer` is the command line."""

from consumer.cli import app

app()
