"""`python -m adsyncd` is `adsyncd`."""

from adsyncd.cli import main

main()
