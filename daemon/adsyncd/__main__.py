"""The entry point, also of `python -m adsyncd`. Until all is imported, Ctrl-C ends the process as the kernel does."""

import signal


def main() -> None:
    """Run the command in the arguments."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a KeyboardInterrupt within an import would show a traceback
    from adsyncd import cli  # noqa: PLC0415 - as said above

    cli.main()


if __name__ == "__main__":
    main()
