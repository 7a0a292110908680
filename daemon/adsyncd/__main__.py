"""The entry point, also of `python -m adsyncd`. Until all is imported, Ctrl-C ends the process as the kernel does."""

import os
import signal
import sys
from contextlib import suppress

_HIDDEN = "__"  # the hidden commands begin so, which the completions of shells run at each Tab; they must be quick


def main() -> None:
    """Run the command in the arguments."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a KeyboardInterrupt within an import would show a traceback
    if sys.argv[1:] and sys.argv[1].startswith(_HIDDEN):
        from adsyncd.config.completed_names import COMPLETING  # noqa: PLC0415 - the command line would take a second

        if names := COMPLETING.get(sys.argv[1]):
            lines = "".join(f"{name}\n" for name in names(sys.argv[2:], os.environ))
            with suppress(OSError):  # nobody reads them any more
                os.write(1, lines.encode())
            return
    from adsyncd import cli  # noqa: PLC0415 - as said above

    cli.main()


if __name__ == "__main__":
    main()
