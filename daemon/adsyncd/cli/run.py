"""`adsyncd run`: the daemon."""

import os

from adsyncd import daemon
from adsyncd.cli import event_loop
from adsyncd.cli.options import CONFIG, Config, LogLevel
from adsyncd.config import load_settings


def run(config: Config = CONFIG, log_level: LogLevel = "info") -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C.

    Every tenant is synced on its own schedule. Drop-ins that are wrong are logged and left out; the others run. What is
    on its way is waited for, for shutdown_grace at most; a second signal cuts that short. Exits 0 after a clean stop.
    """
    event_loop.run(daemon.serve, load_settings(config, os.environ), os.environ, log_level)
