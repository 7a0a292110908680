"""What `adsyncd config` prints: each value as a line of TOML, with its origin in a comment."""

from collections.abc import Iterator, Mapping, Sequence

from adsyncd.config.diagnostics import as_toml
from adsyncd.config.in_force import Origin, Value

_LONGEST_PADDED = 44


def lines(values: Sequence[Value], width: int | None) -> Iterator[str]:
    """Yield valid TOML. A comment that does not fit into `width` has a line of its own, below; None: all fit."""
    stated = [f"{'.'.join(value.key)} = {as_toml(value.value)}" for value in values]
    column = max((len(text) for text in stated if len(text) <= _LONGEST_PADDED), default=0)
    for value, text in zip(values, stated, strict=True):
        comment = f"# {_place(value.origin)}"
        for line in (f"{text:<{column}}  {comment}", f"{text}  {comment}"):
            if width is None or len(line) <= width:
                yield line
                break
        else:
            yield text
            yield f"    {comment}"


def as_json(value: Value) -> Mapping[str, object]:
    """Return a value as `adsyncd config --json` prints it."""
    origin = value.origin
    return {"key": ".".join(value.key), "value": value.value, "source": origin.source, "line": origin.line}


def _place(origin: Origin) -> str:
    return origin.source if origin.line is None else f"{origin.source}:{origin.line}"
