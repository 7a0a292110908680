"""What each command prints fits a terminal of 80 columns, and no escape sequence goes where none belongs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import anyio
from rich.cells import cell_len

from adsyncd.cli import _COMMANDS
from adsyncd.config.profile_file import find_profile
from support.platform import Platform
from support.program import Program
from support.terminals import open_terminal, reading

COLUMNS = 80
LONG = "shop-" + "0123456789" * 5 + "-germany"  # as long as an id may be
REJECTED = ["cmp-0002", "cmp-0005"]
ESCAPE = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
STYLE = re.compile(r"\x1b\[([0-9;:]*)m")
CUT = "…"
PLAIN, DUMB, PIPE = "NO_COLOR", "TERM=dumb", "a pipe"
FORMS: Mapping[str, Mapping[str, str]] = {PLAIN: {"TERM": "xterm", "NO_COLOR": "1"}, DUMB: {"TERM": "dumb"}}
REMARK = r".*: 2 of 12 campaigns were not pushed"  # a run's error below the table, which the terminal wraps
PROGRESS = r".*[\u2500-\u257f\u2800-\u28ff].*|.* waiting for .*"  # one line that is drawn again and again


@dataclass(frozen=True, slots=True)
class Case:
    """A command, its exit code, and the lines that may be wider than the terminal: sentences, which it wraps.

    A command without a table and without progress prints what it prints on a dumb terminal wherever it is.
    """

    command: str
    code: int = 0
    sentences: str = ""
    table: bool = True

    @property
    def forms(self) -> tuple[str, ...]:
        return (PLAIN, DUMB, PIPE) if self.table else (DUMB, PIPE)


CASES = (
    Case("status"),
    Case(f"status {LONG}"),
    Case("runs", sentences=REMARK),
    Case("runs show {run}"),
    Case("runs --daily acme", sentences=REMARK),
    Case(f"campaigns {LONG} --limit 3"),
    Case("dead-letters list"),
    Case("dead-letters show acme cmp-0002", sentences="reason: the platform answered 422", table=False),
    Case("plan"),
    Case("check --store --connect", sentences=f"{LONG}: ok", table=False),
    Case(f"config {LONG}", sentences=r"    # /\S+$", table=False),  # a path
    Case("alerts", sentences=rf"  do: |warning: .*{LONG}.*: low_success_rate, (the first )?since ", table=False),
    Case("reload", table=False),
    Case("reload --dry-run", table=False),
    Case("log-level", table=False),
    Case("pause --match glob*", table=False),
    Case(f"resume {LONG}", sentences=f"{LONG} is idle until ", table=False),
    Case("trigger --all --dry-run", 3, f"{LONG}: would be triggered", table=False),  # one is paused
    Case("cancel --all", sentences=f"{LONG}: unchanged, no run was in progress", table=False),
    Case("probe acme"),
    Case("sync globex", 3, REMARK),  # dead letters
    Case("simulate --hours 0.5 --healthy --campaigns 5"),
    Case("forget left --dry-run", table=False),
    Case("rename left right --dry-run", sentences="left would become right: ", table=False),
    Case("profile list"),
    Case("profile check {profile}", sentences="sign-in: |listing: |paging: |fields: |push: |/", table=False),
)
NOT_HERE = {  # command -> why it has no case
    "run": "it is the daemon, and prints its log: lines of JSON",
    "demo": "it shows `status --watch` until Ctrl-C",
    "page": "it prints an address, and serves the page until Ctrl-C",
}


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command printed on standard output and standard error, and its exit code."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", self.text))]

    @property
    def coloured(self) -> bool:
        codes = {int(code) for style in STYLE.findall(self.text) for code in re.split("[;:]", style) if code}
        return bool(codes & {*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108)})


async def printed(program: Program, command: str, environ: Mapping[str, str] | None) -> Printed:
    """Run a command in a terminal of 80 columns, or with pipes if `environ` is None."""
    variables = {**program.environ, "ADSYNCD_CONFIG": str(program.config), **(environ or {})}
    arguments = [sys.executable, "-m", "adsyncd", *command.split()]
    ours, theirs = os.pipe() if environ is None else open_terminal(24, COLUMNS)
    shell = replace(program, environ=variables)
    said = b""
    async with shell.opened(*arguments, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        with anyio.fail_after(60):
            async for more in reading(ours):
                said += more
        os.close(ours)
        return Printed(await process.wait(), said.decode())


def faults(case: Case, form: str, one: Printed) -> Iterator[str]:
    """Yield what is wrong with what a command printed."""
    if one.code != case.code or "Traceback" in one.text or not any(one.lines):
        yield f"{form}: exit code {one.code}: {one.text}"
    if one.coloured:
        yield f"{form}: a colour: {one.text!r}"
    if form != PLAIN and (found := ESCAPE.findall(one.text)):
        yield f"{form}: escape sequences: {found}"
    for line in one.lines if form in FORMS else ():
        if cell_len(line) > COLUMNS and not (case.sentences and re.match(case.sentences, line)):
            yield f"{form}: wider than {COLUMNS}: {line}"
        if CUT in line and not re.fullmatch(PROGRESS, line):
            yield f"{form}: a cell is cut off: {line}"


def test_each_command_has_a_case_or_a_reason_for_none() -> None:
    assert {case.command.split()[0] for case in CASES} | NOT_HERE.keys() == _COMMANDS.keys()


async def test_what_each_command_prints_fits_80_columns_and_has_only_the_escape_sequences_that_are_wanted(
    program: Program, platform: Platform
) -> None:
    await platform.treat(rejected=REJECTED)
    program.tenant("acme")
    program.tenant("globex")
    program.tenant(LONG, client_id="initech", credentials={"env": "INITECH"})
    program.tenant("left", client_id="acme", credentials={"env": "ACME"})
    found = list[str]()
    limit = anyio.CapacityLimiter(4)

    async def look(case: Case) -> None:
        async with limit:
            for form in case.forms:
                one = await printed(program, case.command.format(**named), FORMS.get(form))
                found.extend(f"{case.command}: {fault}" for fault in faults(case, form, one))

    async with program.daemon() as daemon:
        await daemon.logs("run ended", 4)
        (program.folder / "tenants.d" / "left.toml").unlink()
        await program.ask("reload")
        await program.ask("pause", "globex")
        named = {"run": (await program.runs())["acme"]["run_id"], "profile": find_profile("meta")}
        async with anyio.create_task_group() as tasks:
            for case in CASES:
                tasks.start_soon(look, case)
        assert (await printed(program, "runs", {"TERM": "xterm"})).coloured  # so that NO_COLOR takes something away
    assert not found
