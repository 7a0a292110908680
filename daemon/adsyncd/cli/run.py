"""`adsyncd run`: the daemon."""

import os

import typer

from adsyncd import daemon
from adsyncd.cli.options import CONFIG, Config, LogLevel
from adsyncd.cli.output import print_error
from adsyncd.errors import AdsyncdError, ConfigError
from adsyncd.host import event_loop, sd_notify


def run(config: Config = CONFIG, log_level: LogLevel = "info") -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C.

    Every tenant is synced on its own schedule. Drop-ins that are wrong are logged and left out; the others run. What is
    on its way is waited for, for shutdown_grace at most; a second signal cuts that short. Exits 0 after a clean stop,
    78 if the settings are wrong: starting it again won't fix that.
    """
    try:
        event_loop.run(daemon.serve, config, os.environ, log_level)
    except AdsyncdError as error:
        sd_notify.tell_failure(error, os.environ)
        print_error(error)
        raise typer.Exit(os.EX_CONFIG if isinstance(error, ConfigError) else 1) from error
