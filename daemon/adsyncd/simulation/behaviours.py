"""How platforms treat client ids in worlds: settings of mock_api."""

from collections.abc import Mapping

HEALTHY: Mapping[str, object] = {
    "fault": "none", "hidden": [], "odd": [], "shifting": False, "list_error_code": 0.0, "cursor_lifetime_s": 0.0,
    **{f"{what}_{fault}": 0.0 for what in ("list", "push") for fault in ("503", "hang", "drop", "malformed")},
}  # fmt: skip
"""Without faults."""

FAULTS: Mapping[str, object] = {"list_503": 0.2, "list_hang": 0.1}
"""The usual faults."""

FLAKY: Mapping[str, object] = {
    "list_503": 0.2, "list_hang": 0.1, "list_drop": 0.05, "list_malformed": 0.05,
    "push_503": 0.1, "push_hang": 0.05, "push_drop": 0.05, "push_malformed": 0.05,
}  # fmt: skip
"""The faults of a flaky platform."""

ODD: tuple[Mapping[str, object], ...] = (
    {"budget": None}, {"budget": "10.50"}, {"budget": "a lot"}, {"clicks": 3.0}, {"clicks": 3.7}, {"name": "a\0b"},
    {"created_at": 1767323045}, {"created_at": ""}, {"impressions": 2**70}, {"status": {"is": "active"}},
    {"id": None}, {"id": True}, {"id": "x" * 300},
)  # fmt: skip
"""Values against the API's promise; the last three make the campaign unusable."""
