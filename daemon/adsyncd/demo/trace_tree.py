"""Draws a trace as a tree for the terminal: the steps of a run in order, their durations and their errors."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from rich.text import Text
from rich.tree import Tree

from adsyncd.demo.collector import ExportedSpan
from adsyncd.telemetry.instruments import ERROR_TYPE, HTTP_RESEND_COUNT, HTTP_STATUS, URL_FULL, URL_TEMPLATE

_Children = dict[str | None, list[ExportedSpan]]


def trace_tree(spans: Iterable[ExportedSpan], trace_id: str, alike: int = 3) -> Tree:
    """Return the tree of a trace.

    Of siblings with the same name it shows the `alike` that have most below them, most in kind before most in number.
    Where none has anything below it, it shows twice as many, or a line for all of them if they went well.
    """
    trace = [span for span in spans if span.trace_id == trace_id]
    known = {span.span_id for span in trace}
    children: _Children = defaultdict(list)
    for span in sorted(trace, key=lambda span: span.start_ns):
        children[span.parent_id if span.parent_id in known else None].append(span)
    tree = Tree(Text(f"trace {trace_id}", "dim"), guide_style="dim")
    _grow(tree, None, children, alike)
    return tree


def _grow(tree: Tree, parent: ExportedSpan | None, children: _Children, alike: int) -> None:
    families: dict[str, list[ExportedSpan]] = defaultdict(list)
    for child in children[parent.span_id if parent else None]:
        families[child.name].append(child)
    for name, family in families.items():
        leaves = not any(children[span.span_id] for span in family)
        if leaves and len(family) > 1 and not any(span.error for span in family):
            tree.add(Text.assemble((name, "bold"), f" x{len(family)} ", (_duration(*family), "cyan")))
            continue
        most = 2 * alike if leaves else alike
        shown = sorted(family, key=lambda span: _riches(span, children), reverse=True)[:most]
        for child in sorted(shown, key=lambda span: span.start_ns):
            _grow(tree.add(_label(child, parent)), child, children, alike)
        hidden = [span for span in family if span not in shown]
        if hidden:
            errors = sum(span.error for span in hidden)
            tree.add(Text(f"{len(hidden)} more {name}" + (f", {errors} with errors" if errors else ""), "dim"))


def _riches(span: ExportedSpan, children: _Children) -> tuple[int, int]:
    """Return how many kinds of spans are below, and how many spans."""
    below = list(_below(span, children))
    return len({span.name for span in below}), len(below)


def _below(span: ExportedSpan, children: _Children) -> Iterator[ExportedSpan]:
    for child in children[span.span_id]:
        yield child
        yield from _below(child, children)


def _label(span: ExportedSpan, parent: ExportedSpan | None) -> Text:
    """Return a span's name and those of its attributes that its parent does not have, without a run's counts."""
    label = Text.assemble((span.name, "bold"), " ", (_duration(span), "cyan"))
    path = urlsplit(str(span.attributes.get(URL_FULL, ""))).path
    if path != span.attributes.get(URL_TEMPLATE, ""):  # which is part of the name
        label.append(f" {path}")
    if status := span.attributes.get(HTTP_STATUS):
        label.append(f" {status}", "red" if span.error else "")
    if resend := span.attributes.get(HTTP_RESEND_COUNT):
        label.append(f" resend {resend}")
    said = parent.attributes if parent else {}
    for key, value in span.attributes.items():
        if key.startswith("adsyncd.") and not key.startswith("adsyncd.run.") and said.get(key) != value:
            label.append(f" {key.removeprefix('adsyncd.')}={value}", "dim")
    if span.error and not status:
        label.append(f" {span.message or span.attributes.get(ERROR_TYPE, 'error')}", "red")
    return label


def _duration(*spans: ExportedSpan) -> str:
    total_s = sum(span.duration_s for span in spans)
    return f"{total_s:.2f} s" if total_s >= 1 else f"{total_s * 1000:.0f} ms"
