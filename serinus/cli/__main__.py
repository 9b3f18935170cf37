"""`python -m serinus.cli`: the command `serinus` of this interpreter."""

from serinus.cli.app import run

run()
