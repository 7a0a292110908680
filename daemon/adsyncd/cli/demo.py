"""`adsyncd demo`: all of it on this machine."""


def demo() -> None:
    """Show all of it on this machine: mock platform, OpenBao and three tenants."""
