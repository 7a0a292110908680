"""The picture in README.md: `python docs/picture.py FILE` runs `adsyncd demo` on a terminal and draws what it printed.

rich draws it. Its link to a font on the network is left out, so that the file needs nothing but itself.
"""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 110
COMMANDS = Path(sys.executable).parent  # on PATH, so that the demo calls itself `adsyncd`
PROGRESS = re.compile(r"\x1b\[\?25l.*(?:\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)+)", re.DOTALL)  # all of it but its last state
FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def demo() -> str:
    """Run the demo, and return what it printed, with the escape sequences for colours. Raises OSError if it fails."""
    place = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(COLUMNS), "TMPDIR": "/tmp"}  # noqa: S108 - everybody's
    environ = os.environ | place | {"PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"}
    ours, its = pty.openpty()
    printed = b""
    with subprocess.Popen([COMMANDS / "adsyncd", "demo"], env=environ, stdout=its, stderr=its) as process:  # noqa: S603 - ours
        os.close(its)
        try:
            while data := os.read(ours, 4096):
                printed += data
        except OSError:  # it has ended
            os.close(ours)
    if process.returncode:
        raise OSError(printed.decode())
    return printed.decode().replace("\r\n", "\n")


def drawn(printed: str) -> str:
    """Return the SVG of what a terminal shows in the end."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    console.print(Text.from_ansi(PROGRESS.sub("", printed)))
    svg = console.export_svg(title="adsyncd demo", unique_id="demo")
    return "\n".join(line.rstrip() for line in FONTS.sub("", svg).splitlines()) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawn(demo()), encoding="utf-8")
