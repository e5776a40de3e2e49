"""`python -m thickets` is the command `thickets`."""

from thickets.flows.cli.main import command

command()
