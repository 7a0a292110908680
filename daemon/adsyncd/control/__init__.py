"""The control socket: HTTP over a Unix socket, for status and commands."""
