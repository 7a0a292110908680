"""The rules that are shipped for Prometheus, as promtool tests them."""

import re
import shutil
import subprocess
from pathlib import Path

from adsyncd.model.alert import AlertName
from support.prometheus import ROOT, RULE_TESTS, RULES, binary, selectors

TEXT = RULES.read_text()
HEAD, *BODIES = re.split(r"(?m)^(?=      - alert: )", TEXT)
ALERTS = [body.split()[2] for body in BODIES]
DOCS = (ROOT / "docs" / "alerts.md").read_text()
RUNBOOK = re.compile(r"runbook: \"?docs/alerts\.md#([^\"\n]+)")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary("promtool"), *arguments], check=False, capture_output=True, text=True)


def passes(folder: Path, rules: str) -> bool:
    """Return whether other rules pass the tests."""
    shutil.copy(RULE_TESTS, folder)
    (folder / RULES.name).write_text(rules)
    return promtool("test", "rules", folder / RULE_TESTS.name).returncode == 0


def test_the_rules_are_valid_and_pass_their_tests() -> None:
    assert promtool("check", "rules", RULES).returncode == 0
    passed = promtool("test", "rules", RULE_TESTS)
    assert passed.returncode == 0, passed.stdout


def test_each_rule_is_seen_to_fire_and_not_to_fire() -> None:
    """What passes is seen: each fires somewhere, and none does where all that they read is well."""
    tests = RULE_TESTS.read_text()
    fires = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n +- exp_labels", tests))
    assert fires == set(ALERTS)
    _, well, *_ = tests.split("  - name: ")
    assert well.count("expr: 'ALERTS', eval_time: ") == well.count("exp_samples: []") == 3
    read = {selector.partition("{")[0] for body in BODIES for selector in selectors(body.partition("labels:")[0])}
    assert read == set(re.findall(r"series: '(\w+)\{", well))


def test_each_threshold_and_time_matters(tmp_path: Path) -> None:
    for old, new in (
        ("expr: adsyncd_vault_up == 0", "expr: vector(1)"),
        ("> 0.1 *", "> 0.12 *"),
        ("> 0.8", "> 0.4"),
        ("for: 5m", "for: 2m"),
    ):
        assert old in TEXT
        assert not passes(tmp_path, TEXT.replace(old, new)), old


def test_each_rule_is_documented_with_its_severity_and_names_its_place_there() -> None:
    rows = re.findall(r'^\| <a id="(\w+)"></a>(\w+) \| (\w+) \| .+ \|$', DOCS, re.MULTILINE)
    severities = [found[1] for body in BODIES if (found := re.search(r"severity: (\w+)\}", body))]
    assert [(alert, severity) for _, alert, severity in rows] == list(zip(ALERTS, severities, strict=True))
    assert [anchor for anchor, _, _ in rows] == [alert.lower() for alert in ALERTS]
    for body in BODIES:
        [anchor] = RUNBOOK.findall(body)
        if "labels.adsyncd_alert" in anchor:
            assert all(f"### `{name}`" in DOCS for name in AlertName)
        else:
            assert anchor in {each for each, _, _ in rows}
