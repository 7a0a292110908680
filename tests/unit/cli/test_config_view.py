import tomllib

from adsyncd.cli.config_view import as_json, lines
from adsyncd.config.in_force import DEFAULT, Origin, Value

LONG = "/etc/adsyncd/tenants.d/acme.toml.d/10-address.toml"
VALUES = [
    Value(("platform",), "mixo", Origin("/etc/a.toml", 7)),
    Value(("sync", "timeout"), "10s", DEFAULT),
    Value(("weight",), 5, Origin("ADSYNCD_DEFAULTS__WEIGHT")),
    Value(("quota", "also"), [{"requests": 200, "per": "1h"}], Origin("/etc/a.toml", 9)),
    Value(("platforms", "mixo-2", "base_url"), "https://ads.example.com", Origin(LONG, 12)),
    Value(("vars",), {}, DEFAULT),
]


def test_each_value_has_a_line_with_its_place_as_a_comment_if_there_is_no_terminal() -> None:
    assert list(lines(VALUES, None)) == [
        'platform = "mixo"     # /etc/a.toml:7',
        'sync.timeout = "10s"  # default',
        "weight = 5            # ADSYNCD_DEFAULTS__WEIGHT",
        'quota.also = [{ requests = 200, per = "1h" }]  # /etc/a.toml:9',
        f'platforms.mixo-2.base_url = "https://ads.example.com"  # {LONG}:12',
        "vars = {}             # default",
    ]


def test_nothing_is_wider_than_the_terminal_and_a_place_stands_below_where_it_must() -> None:
    shown = list(lines(VALUES, 70))
    assert max(len(line) for line in shown) <= 70
    assert shown[4:6] == ['platforms.mixo-2.base_url = "https://ads.example.com"', f"    # {LONG}:12"]


def test_the_text_is_toml() -> None:
    assert tomllib.loads("\n".join(lines(VALUES, 40))) == {
        "platform": "mixo",
        "sync": {"timeout": "10s"},
        "weight": 5,
        "quota": {"also": [{"requests": 200, "per": "1h"}]},
        "platforms": {"mixo-2": {"base_url": "https://ads.example.com"}},
        "vars": {},
    }


def test_json_has_the_place_in_two_keys() -> None:
    assert as_json(VALUES[0]) == {"key": "platform", "value": "mixo", "source": "/etc/a.toml", "line": 7}
    assert as_json(VALUES[1]) == {"key": "sync.timeout", "value": "10s", "source": "default", "line": None}
    assert as_json(VALUES[2])["source"] == "ADSYNCD_DEFAULTS__WEIGHT"
