"""`adsyncd run`: the daemon."""

import os

import typer

from adsyncd.cli.arguments import CONFIG, Config, LogLevel
from adsyncd.cli.output import print_error
from adsyncd.daemon.service import serve
from adsyncd.errors import AdsyncdError, ConfigError
from adsyncd.host import event_loop, sd_notify


def run(config: Config = CONFIG, log_level: LogLevel = "info") -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C.

    Every tenant is synced on its own schedule. Invalid drop-ins are logged and skipped; the other tenants run. After a
    signal, requests in flight may finish within shutdown_grace; a second signal ends the wait. Exits 0 after a clean
    stop, 78 for invalid settings, which a restart won't fix.
    """
    try:
        event_loop.run(serve, config, os.environ, log_level)
    except AdsyncdError as error:
        sd_notify.tell_failure(error, os.environ)
        print_error(error)
        raise typer.Exit(os.EX_CONFIG if isinstance(error, ConfigError) else 1) from error
