"""The entry point, also of `python -m adsyncd`. Until all is imported, Ctrl-C ends the process as the kernel does."""

import os
import signal
import sys
from contextlib import suppress

COMPLETING = "__tenants"  # the hidden command that the completions of shells run at each Tab; it must be quick


def main() -> None:
    """Run the command in the arguments."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a KeyboardInterrupt within an import would show a traceback
    if sys.argv[1:2] == [COMPLETING]:
        from adsyncd.config.tenant_ids import tenant_ids  # noqa: PLC0415 - the command line would take a second

        lines = "".join(f"{name}\n" for name in tenant_ids(sys.argv[2:], os.environ))
        with suppress(OSError):  # nobody reads them any more
            os.write(1, lines.encode())
        return
    from adsyncd import cli  # noqa: PLC0415 - as said above

    cli.main()


if __name__ == "__main__":
    main()
