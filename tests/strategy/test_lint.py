"""What lint finds in rulesets that are valid, by code, field and line; and that it leaves good ones alone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from autopack_site.kernel.errors import Invalid
from strategy.defaults import default_ruleset
from strategy.engine import compile_strategy
from strategy.lint import lint_ruleset, lint_text
from strategy.types import RunOptions
from strategy.validation import check_ruleset_text
from tests.strategy.builders import aged, phase, plan_of

EXAMPLES = Path(settings.BASE_DIR) / "docs" / "examples" / "rulesets"
DOCS = Path(settings.BASE_DIR) / "docs" / "rulesets.md"

# text, code, field, line
FINDINGS = [
    ("rules:\n- id: a\n  when:\n    category: [docz]\n  set: {auto_apply: false}\n",
     "unknown-category", "rules[0].when.category[0]", 4),
    ("rules:\n- id: a\n  when:\n    category: [security_auth]\n    complexity: [low]\n  set: {max_diff_lines: 5}\n",
     "rule-unreachable", "rules[0].when.complexity", 5),
    ("category_defaults:\n  docs: {max_diff_lines: 9}\nrules:\n- id: a\n  when:\n    category: [docs]\n"
     "    diff_lines_at_least: 10\n  set: {auto_apply: false}\n",
     "rule-unreachable", "rules[0].when.diff_lines_at_least", 7),
    ("rules:\n- id: a\n  set:\n    auto_apply: true\n", "value-without-effect", "rules[0].set.auto_apply", 4),
    ("rules:\n- id: a\n  when: {category: [docs]}\n  set:\n    max_builder_attempts: 2\n",
     "value-without-effect", "rules[0].set.max_builder_attempts", 5),
    ("protected_paths: [a, b]\nrules:\n- id: a\n  set:\n    protected_paths: [b]\n",
     "value-without-effect", "rules[0].set.protected_paths", 5),
    ("rules:\n- id: wide\n  set: {max_diff_lines: 5}\n- id: a\n  when: {category: [docs]}\n"
     "  set: {max_diff_lines: 9}\n", "rule-without-effect", "rules[1]", 4),
    ("rules:\n- id: a\n  set: {max_diff_lines: 5}\n- id: b\n  set: {max_diff_lines: 5}\n",
     "rule-without-effect", "rules[1]", 4),
    ("rules:\n- id: a\n  set:\n    auto_apply: false\n    max_auditor_attempts: 0\n",
     "no-audit-possible", "rules[0].set.auto_apply", 4),
    ("rules:\n- id: a\n  set: {auto_apply: false}\n- id: b\n  when: {category: [docs]}\n"
     "  set:\n    max_auditor_attempts: 0\n", "no-audit-possible", "rules[1].set", 6),
    ("rules:\n- id: a\n  set: {auditor_profile: x}\n- id: b\n  set:\n    auditor_profile: y\n",
     "profiles-without-order", "rules[1].set.auditor_profile", 6),
    ("category_map: {login: security_auth}\ncategory_defaults:\n  login: {}\n",
     "mapped-category-has-row", "category_defaults.login", 3),
    ("run_token_cap: 100000\ncategory_defaults:\n  docs:\n    incident_token_cap: 200000\n",
     "phase-cap-above-run-cap", "category_defaults.docs.incident_token_cap", 4),
    ("rules:\n- id: a\n  set:\n    incident_token_cap: 6000000\n",
     "phase-cap-above-run-cap", "rules[0].set.incident_token_cap", 4),
    ("run_token_cap: 900\n", "attempt-tokens-too-few", "run_token_cap", 1),
    ("rules:\n- id: a\n  set:\n    incident_token_cap: 900\n",
     "attempt-tokens-too-few", "rules[0].set.incident_token_cap", 4),
    ("rules:\n- id: a\n  set:\n    max_attempt_tokens: 9\n",
     "attempt-tokens-too-few", "rules[0].set.max_attempt_tokens", 4),
    ("category_defaults:\n  docs:\n    tier_ci_run_cap_multiplier: 0.5\n",
     "no-gate-run", "category_defaults.docs.tier_ci_run_cap_multiplier", 3),
    ("category_defaults:\n  docs:\n    tier_token_cap_multiplier: 0.5\n",
     "tier-cap-below-phase-cap", "category_defaults.docs.tier_token_cap_multiplier", 3),
    ("debt_cleanup:\n  max_phases: 0\n  aged_issue_limit: 3\n", "cleanup-never", "debt_cleanup.aged_issue_limit", 3),
    ("run_max_phases: 2\ndebt_cleanup:\n  max_phases: 3\n", "cleanup-exceeds-run", "debt_cleanup.max_phases", 3),
    ("safety_profiles:\n  normal:\n    minor_issue_aging_runs_threshold: 500\n"
     "    minor_issue_aging_tiers_threshold: 500\n",
     "aging-never", "safety_profiles.normal.minor_issue_aging_runs_threshold", 3),
    ("safety_profiles:\n  safety_critical:\n    minor_issue_aging_runs_threshold: 9\n", "profile-laxer-than-normal",
     "safety_profiles.safety_critical.minor_issue_aging_runs_threshold", 3),
    ("rules:\n- id: short\n  set: {max_diff_lines: 5}\n- id: a\n  when: {diff_lines_at_least: 10}\n"
     "  set: {auto_apply: false}\n", "rule-unreachable", "rules[1].when.diff_lines_at_least", 5),
    ("rules:\n- id: a\n  when:\n    backlog:\n      aged_at_least: 20000\n  set: {run_max_phases: 9}\n",
     "rule-unreachable", "rules[0].when.backlog.aged_at_least", 5),
    ("rules:\n- id: a\n  set:\n    max_auditor_attempts: 0\n",
     "no-audit-possible", "rules[0].set.max_auditor_attempts", 4),
    ("rules:\n- id: a\n  set: {auto_apply: false}\n- id: b\n  when: {category: [docs]}\n"
     "  set:\n    run_audit_token_cap: 0\n", "no-audit-possible", "rules[1].set", 6),
    ("debt_cleanup: {max_phases: 0}\nrules:\n- id: a\n  set:\n    debt_aged_issue_limit: 0\n",
     "cleanup-never", "rules[0].set.debt_aged_issue_limit", 5),
    ("run_max_phases: 2\nrules:\n- id: a\n  set:\n    debt_max_phases: 3\n",
     "cleanup-exceeds-run", "rules[0].set.debt_max_phases", 5),
    ("rules:\n- id: a\n  set:\n    debt_max_phases: 2\n",
     "value-without-effect", "rules[0].set.debt_max_phases", 4),
    ("rules:\n- id: a\n  set:\n    debt_aged_issue_limit: 5\n",
     "value-without-effect", "rules[0].set.debt_aged_issue_limit", 4),
    ("rules:\n- id: a\n  set:\n    on_phase_failure: continue\n",
     "value-without-effect", "rules[0].set.on_phase_failure", 4),
    ("rules:\n- id: a\n  when: {safety_profile: [safety_critical]}\n  set:\n    on_phase_failure: stop\n",
     "value-without-effect", "rules[0].set.on_phase_failure", 5),
    ("rules:\n- id: a\n  set:\n    default_severity: minor\n",
     "value-without-effect", "rules[0].set.default_severity", 4),
]  # fmt: skip


def of_row(name: str, value: object, *, before: str = "", beside: str = "") -> tuple[str, str, int]:
    """Return a text with the value in the row of docs, its field, and its line."""
    text = f"{before}category_defaults:\n  docs:\n    {name}: {value}\n{beside}"
    return text, f"category_defaults.docs.{name}", before.count("\n") + 3


def of_rule(name: str, value: object, *, before: str = "", beside: str = "") -> tuple[str, str, int]:
    """Return the same with the value in a rule."""
    text = f"{before}rules:\n- id: a\n  when: {{category: [docs]}}\n  set:\n    {name}: {value}\n{beside}"
    return text, f"rules[0].set.{name}", before.count("\n") + 5


def of_run(name: str, value: object, *, beside: str = "") -> tuple[str, str, int]:
    """Return the same with the value at the top of the ruleset."""
    return f"{name}: {value}\n{beside}", name, 1


# where the limit stands, and what is found there
LIMITS = [
    *((of_row(name, 0), "nothing-starts") for name in (
        "max_builder_attempts", "incident_token_cap", "build_token_cap", "incident_cost_cap_usd", "max_turns",
        "max_diff_lines",
    )),
    *((of_rule(name, 0), "nothing-starts") for name in (
        "max_builder_attempts", "incident_token_cap", "build_token_cap", "incident_cost_cap_usd", "max_turns",
        "max_diff_lines", "max_attempt_tokens", "max_attempt_cost_usd", "run_token_cap", "run_build_token_cap",
        "run_cost_cap_usd", "run_max_phases", "run_max_duration_minutes",
    )),
    *((of_run(name, 0), "nothing-starts") for name in (
        "run_token_cap", "run_build_token_cap", "run_cost_cap_usd", "run_max_phases", "run_max_duration_minutes",
    )),
    *((of_row(name, 10), "attempt-tokens-too-few") for name in ("build_token_cap", "audit_token_cap")),
    *((of_rule(name, 10), "attempt-tokens-too-few") for name in (
        "build_token_cap", "audit_token_cap", "run_build_token_cap", "run_audit_token_cap",
    )),
    *((of_run(name, 10), "attempt-tokens-too-few") for name in ("run_build_token_cap", "run_audit_token_cap")),
    (of_row("incident_cost_cap_usd", 5, before="run_cost_cap_usd: 1\n"), "phase-cap-above-run-cap"),
    (of_rule("incident_cost_cap_usd", 5, before="run_cost_cap_usd: 1\n"), "phase-cap-above-run-cap"),
    (of_row("build_token_cap", 900_000), "part-above-whole"),
    (of_rule("build_token_cap", 900_000), "part-above-whole"),
    (of_row("audit_token_cap", 900_000), "part-above-whole"),
    (of_rule("audit_token_cap", 9000, beside="    incident_token_cap: 8000\n"), "part-above-whole"),
    (of_row("build_token_cap", 9000, before="run_build_token_cap: 5000\n"), "part-above-whole"),
    (of_rule("audit_token_cap", 9000, before="run_audit_token_cap: 5000\n"), "part-above-whole"),
    (of_run("run_build_token_cap", 6_000_000), "part-above-whole"),
    (of_run("run_audit_token_cap", 9000, beside="run_token_cap: 8000\n"), "part-above-whole"),
    (of_rule("max_attempt_cost_usd", 5, beside="    incident_cost_cap_usd: 1\n"), "part-above-whole"),
    (of_row("audit_token_cap", 0, beside="    auto_apply: false\n"), "no-audit-possible"),
    (of_rule("audit_token_cap", 0, before="category_defaults:\n  docs: {auto_apply: false}\n"),
     "no-audit-possible"),
    (of_run("run_audit_token_cap", 0), "no-audit-possible"),
    (of_rule("tier_token_cap_multiplier", 0.5), "tier-cap-below-phase-cap"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "code"), LIMITS, ids=lambda part: part if isinstance(part, str) else part[1]
)
def test_a_limit_that_cannot_be_met_is_found_once_where_it_stands(
    written: tuple[str, str, int], code: str
) -> None:
    text, field, line = written
    found = [(row.code, row.field, row.line) for row in lint_text(text) if row.field == field]
    assert found.count((code, field, line)) == 1


@pytest.mark.parametrize(
    "text",
    [
        of_row("audit_token_cap", 0)[0],  # docs need no audit
        of_row("build_token_cap", "unlimited")[0], of_row("max_turns", "null")[0],
        of_row("max_diff_lines", 1)[0], of_row("build_token_cap", 200_000)[0],
        of_rule("run_token_cap", 500_000)[0],  # some phases have more by the table: the run's bounds them
        of_rule("incident_token_cap", 100_000, before="category_defaults: {docs: {build_token_cap: 150000}}\n")[0],
        "run_cost_cap_usd: 2\ncategory_defaults: {docs: {incident_cost_cap_usd: 2}}\n",
        "run_build_token_cap: unlimited\n",
        "rules:\n- id: short\n  when: {category: [docs]}\n  set: {max_diff_lines: 5}\n- id: a\n"
        "  when: {diff_lines_at_least: 10}\n  set: {auto_apply: false}\n",
        # a category of high risk has the severity major, which is not that of all that its phases see
        "rules:\n- id: a\n  when: {category: [security_auth]}\n  set: {default_severity: major}\n",
        "rules:\n- id: a\n  set: {on_phase_failure: stop}\n",
        "debt_cleanup: {max_phases: 0, aged_issue_limit: 3}\nrules:\n- id: a\n  set: {debt_max_phases: 1}\n",
        "rules:\n- id: a\n  when: {backlog: {aged_at_least: 10000}}\n  set: {run_max_phases: 9}\n",
    ],
)  # fmt: skip
def test_a_limit_that_can_be_met_is_left_alone(text: str) -> None:
    assert lint_text(text) == []


@pytest.mark.parametrize("line", FINDINGS, ids=lambda line: f"{line[1]} {line[2]}")
def test_a_finding_has_its_code_its_field_and_its_line(line: tuple[str, str, str, int]) -> None:
    text, code, field, number = line
    assert (code, field, number) in [(row.code, row.field, row.line) for row in lint_text(text)]


def test_the_default_ruleset_is_clean() -> None:
    assert lint_ruleset(default_ruleset("p")) == []


def test_rules_that_differ_in_what_they_match_are_not_taken_for_each_other() -> None:
    rules = [
        {"id": "a", "when": {"category": ["docs"]}, "set": {"max_diff_lines": 5}},
        {"id": "b", "when": {"category": ["tests"]}, "set": {"max_diff_lines": 5}},
        {"id": "c", "when": {"paths": ["x"]}, "set": {"max_diff_lines": 5}},
        {"id": "d", "set": {"max_diff_lines": 500}},
        {"id": "e", "when": {"backlog": {"open_at_least": 3}}, "set": {"max_diff_lines": 9}},
        {"id": "f", "when": {"safety_profile": ["normal"]}, "set": {"max_diff_lines": 8}},
    ]
    assert lint_ruleset({"rules": rules}) == []


def test_many_rules_of_a_hostile_text_are_looked_at_in_bounded_time_and_number() -> None:
    rules = [{"id": f"r{n}", "set": {"auto_apply": True, "max_diff_lines": 5}} for n in range(200)]
    assert len(lint_ruleset({"rules": rules})) == 200


@pytest.mark.parametrize("text", ["rules: 7", "{", "- 1", "rules: [{id: a, set: {auto_apply: 1}}]"])
def test_what_is_no_ruleset_is_refused_and_not_looked_at(text: str) -> None:
    with pytest.raises(Invalid):
        lint_text(text)


def test_the_command_prints_findings_by_line_and_ends_with_status_one(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(FINDINGS[3][0])
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("ruleset", "lint", str(file), stdout=out)
    assert ended.value.code == 1
    assert f"{file}: line 4: rules[0].set.auto_apply: " in out.getvalue()
    assert out.getvalue().endswith("1 finding\n")
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("ruleset", "lint", str(file), "--json", stdout=out)
    assert json.loads(out.getvalue())[0]["code"] == "value-without-effect"


def test_the_command_refuses_what_is_no_ruleset_by_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("run_token_cap: many\n")
    with pytest.raises(CommandError, match=f"{file}: line 1: "):
        call_command("ruleset", "lint", str(file))
    with pytest.raises(CommandError, match="No such file"):
        call_command("ruleset", "lint", str(tmp_path / "none"))


# --- the worked examples ---------------------------------------------------------------------------------


def example(name: str) -> dict[str, Any]:
    found = next(EXAMPLES.glob(f"*-{name}.yaml"))
    return check_ruleset_text(found.read_text(encoding="utf-8"))


def strategy(name: str, *phases: Any, backlog: int = 0, **options: Any) -> dict[str, Any]:
    entries = tuple(aged(f"k{number}", f"x/{number}") for number in range(backlog))
    done = compile_strategy(
        example(name), entries, plan_of(*phases), run_id="r", project_id="p", options=RunOptions(**options)
    )
    return done.document


@pytest.mark.parametrize("file", sorted(EXAMPLES.iterdir()), ids=lambda file: file.stem)
def test_an_example_is_clean_compiles_and_is_printed_in_the_guide(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert lint_text(text) == []
    assert strategy(file.stem.split("-", 1)[1], phase("a"))["defaults"] == "2026-11"
    assert f"```yaml\n{text}```" in DOCS.read_text(encoding="utf-8")


def test_there_are_five_examples() -> None:
    assert len(list(EXAMPLES.iterdir())) == 5


def test_docs_only_keeps_docs_small_and_has_all_else_looked_at() -> None:
    found = strategy("docs-only", phase("a", task_category="docs"), phase("b", index=1))
    assert (found["run_token_cap"], found["run_max_phases"], found["run_max_duration_minutes"]) == (
        1_000_000,
        10,
        60,
    )
    docs, other = found["phase_strategies"]["a"], found["phase_strategies"]["b"]
    assert (docs["incident_token_cap"], docs["max_diff_lines"], docs["requires_audit"]) == (
        80_000,
        400,
        False,
    )
    assert [(row["diff_lines"], row["requires_audit"]) for row in docs["by_diff_size"]] == [(200, True)]
    assert (other["requires_audit"], other["max_builder_attempts"]) == (True, 1)


def test_library_reviews_the_interface_and_gates_large_changes() -> None:
    inside = phase("a", task_category="feature_scaffolding", scope=("src/lib/core.py",))
    outside = phase("b", index=1, task_category="feature_scaffolding", scope=("src/lib/api/v1.py",))
    found = strategy("library", inside, outside)["phase_strategies"]
    assert (found["a"]["ci_profile"], found["a"]["requires_audit"]) == ("normal", False)
    assert (found["b"]["ci_profile"], found["b"]["requires_audit"]) == ("strict", True)
    assert [(row["diff_lines"], row["ci_profile"]) for row in found["a"]["by_diff_size"]] == [(800, "strict")]


def test_web_service_audits_migrations_and_slows_down_in_debt() -> None:
    migration = phase("a", task_category="feature_scaffolding", scope=("shop/migrations/0002.py",))
    calm, debt = strategy("web-service", migration), strategy("web-service", migration, backlog=20)
    row = calm["phase_strategies"]["a"]
    assert (row["auditor_profile"], row["max_diff_lines"], row["requires_audit"]) == (
        "schema_review",
        300,
        True,
    )
    assert calm["protected_paths"] == ["deploy/**", "terraform/**"]
    assert calm["severity_upgrades"] == {"data loss": "major"}
    assert (calm["run_token_cap"], calm["run_scope"], calm["run_max_phases"]) == (5_000_000, "multi_tier", 25)
    assert (debt["run_token_cap"], debt["run_scope"], debt["run_max_phases"]) == (
        2_000_000,
        "single_tier",
        10,
    )
    assert debt["run_max_minor_issues_total"] == 10


def test_safety_critical_reads_everything_and_tries_hard_work_once() -> None:
    easy = phase("a", task_category="docs", scope=("docs/**",))
    loop = phase("b", index=1, task_category="tests", scope=("src/control/**",))
    hard = phase("c", index=2, task_category="cross_cutting_refactor", scope=("src/ui/**",))
    found = strategy("safety-critical", easy, loop, hard)
    assert (found["safety_profile"], found["run_scope"]) == ("safety_critical", "single_tier")
    rows = found["phase_strategies"]
    assert all(row["requires_audit"] and row["ci_profile"] == "strict" for row in rows.values())
    assert (rows["a"]["max_builder_attempts"], rows["c"]["max_builder_attempts"]) == (2, 1)
    assert (rows["b"]["complexity"], rows["b"]["ci_max_retries"]) == ("high", 1)
    assert rows["b"]["incident_token_cap"] == 300_000
    assert (rows["a"]["max_diff_lines"], rows["c"]["max_diff_lines"]) == (None, 500)


def test_payments_holds_whatever_touches_money_to_everything() -> None:
    named = phase("a", task_category="checkout", scope=("src/web/**",))
    placed = phase("b", index=1, task_category="docs", scope=("src/payments/README.md",))
    other = phase("c", index=2, task_category="docs", scope=("docs/**",))
    found = strategy("payments", named, placed, other)
    rows = found["phase_strategies"]
    assert (rows["a"]["task_category"], rows["a"]["high_risk"], rows["a"]["max_diff_lines"]) == (
        "payments",
        True,
        600,
    )
    for row in (rows["a"], rows["b"]):
        assert (row["auditor_profile"], row["requires_audit"], row["ci_profile"]) == (
            "payments_review",
            True,
            "strict",
        )
    assert rows["c"]["requires_audit"] is False
    assert [(row["diff_lines"], row["requires_audit"]) for row in rows["c"]["by_diff_size"]] == [(300, True)]
    assert (found["run_scope"], found["severity_upgrades"]) == (
        "single_tier",
        {"data_loss": "major", "rounding": "major"},
    )
    assert found["origins"]["run"]["run_scope"] == "rule payments-by-path"
    assert strategy("payments", other)["run_scope"] == "multi_tier"


def test_an_example_is_the_same_in_json() -> None:
    for file in EXAMPLES.iterdir():
        text = file.read_text(encoding="utf-8")
        assert check_ruleset_text(json.dumps(yaml.safe_load(text))) == check_ruleset_text(text)
