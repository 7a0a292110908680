"""The results of `matrix`: results/governor.json, and the table and the drawing made from it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CELLS = RESULTS / "governor.json"
TABLE = RESULTS / "governor.md"
DRAWING = RESULTS / "governor.svg"

PUSH_S = 2.0
_HEAD = """# Limiters

Made from `governor.json` by `python -m benchmarks governor`; [README.md](../README.md) describes the measurement.
A cell holds the used share of the quota and the number of refused requests.
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """The result of one limiter on one server, whose window is `window_s` long: the means of several runs.

    `used`: the ideal time as a share of the measured time, both in seconds. `refused`: 429s of a run.
    """

    limiter: str
    server: str
    round_trip_s: float
    window_s: float
    used: float
    refused: float
    seconds: float
    ideal_s: float


def keep(cells: Sequence[Cell]) -> None:
    """Write the results, the table and the drawing."""
    RESULTS.mkdir(exist_ok=True)
    rows = ",\n".join(f"  {json.dumps(asdict(cell))}" for cell in cells)
    CELLS.write_text(f"[\n{rows}\n]\n")
    TABLE.write_text(table(cells))
    draw(cells)


def kept() -> list[Cell]:
    """Return the latest results."""
    return [Cell(**values) for values in json.loads(CELLS.read_text())]


def table(cells: Sequence[Cell]) -> str:
    """Return the table: for each round trip a row for each limiter, a column for each server."""
    servers = list(dict.fromkeys(cell.server for cell in cells))
    sections = [_HEAD, f"![{DRAWING.stem}]({DRAWING.name})", ""]
    for round_trip_s in dict.fromkeys(cell.round_trip_s for cell in cells):
        some = [cell for cell in cells if cell.round_trip_s == round_trip_s]
        sections += [f"## {shown(round_trip_s).capitalize()}", ""]
        sections += [f"| limiter | {' | '.join(servers)} |", f"|---|{'---|' * len(servers)}"]
        for limiter in dict.fromkeys(cell.limiter for cell in some):
            by_server = {cell.server: cell for cell in some if cell.limiter == limiter}
            columns = " | ".join(f"{by_server[name].used:.1%}, {by_server[name].refused:g}" for name in servers)
            sections.append(f"| {limiter} | {columns} |")
        sections.append("")
    return "\n".join(sections)


def shown(round_trip_s: float) -> str:
    """Name a round trip."""
    if round_trip_s == PUSH_S:
        return f"pushes of {round_trip_s:g} s"
    return f"round trips of {1000 * round_trip_s:g} ms"


def draw(cells: Sequence[Cell]) -> None:
    """Draw the used shares: one panel per server; a marker is hollow if there were refusals."""
    import matplotlib as mpl  # noqa: PLC0415 - who reads the results needs none of it
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams.update({"svg.hashsalt": "adsyncd", "svg.fonttype": "none", "font.size": 9})
    servers = list(dict.fromkeys(cell.server for cell in cells))
    limiters = list(dict.fromkeys(cell.limiter for cell in cells))
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, len(servers), sharey=True)
    for panel, server in zip(panels, servers, strict=True):
        for number, limiter in enumerate(limiters):
            some = [cell for cell in cells if (cell.server, cell.limiter) == (server, limiter)]
            places = range(len(some))
            colour = f"C{number}"
            width = 2.5 if limiter == "adsyncd" else 1
            panel.plot(places, [100 * cell.used for cell in some], color=colour, linewidth=width, label=limiter)
            for place, cell in zip(places, some, strict=True):
                fill = "white" if cell.refused else colour
                panel.plot(place, 100 * cell.used, "o", color=colour, markerfacecolor=fill, markersize=5)
            panel.set_xticks(places, [f"{cell.round_trip_s:g} s" for cell in some])
        panel.set_title(server)
        panel.set_xlabel("round trip")
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("quota used, % (hollow: with 429s)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(DRAWING, metadata={"Date": None})
