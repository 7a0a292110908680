"""The control socket: HTTP over a Unix socket, by which operators ask the daemon how it stands and what it is to do."""
