"""The control socket: HTTP over a Unix socket, by which operators ask the daemon how it stands and what it is to do."""

from adsyncd.control.app import application
from adsyncd.control.commands import Commands, DaemonStatus
from adsyncd.control.server import listening, serve

__all__ = ["Commands", "DaemonStatus", "application", "listening", "serve"]
