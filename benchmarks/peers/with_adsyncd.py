"""Runs all tenants of a configuration once, as a daemon that has just started: `python -m ... CONFIG PUSHES`.

PUSHES: how many campaigns each of them pushes.
"""

import sys
from pathlib import Path

from adsyncd.host import event_loop
from benchmarks.contenders import run_all

event_loop.run(run_all, Path(sys.argv[1]), int(sys.argv[2]))
