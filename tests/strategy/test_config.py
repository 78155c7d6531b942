"""autopack.yaml: what an operator writes, and what it means."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from autopack_site.kernel.errors import Invalid
from strategy.config import ProjectConfig, load_config
from strategy.scopes import resolve_scopes
from strategy.validation import check_ruleset, check_ruleset_text, schema
from tests.strategy.builders import phase, plan_of

WHOLE = """\
default_branch: trunk
protected_branches: ["release/*", production]
protected_paths: [".github/**"]
allow: {binary: true}
builders:
  claude:
    kind: command
    argv: [claude, --print]
    env_names: [ANTHROPIC_API_KEY]
    timeout_s: 900
    categories: [schema_change, docs]
    toolchains: [/opt/claude]
  anyone: {kind: pull}
auditors:
  reviewer: {kind: command, argv: [review], network: false}
gates:
  setup:
    - {name: install, argv: [make, deps]}
  suites:
    unit:
      - name: unit
        argv: [pytest, -q, --junitxml=unit.xml]
        timeout_s: 120
        reports: [unit.xml]
        env: {CI: "1"}
    integration: [{name: integration, argv: [make, it]}]
    e2e: [{name: e2e, argv: [make, e2e]}]
    safety_critical: [{name: safety, argv: [make, safety]}]
  limits: {wall_s: 60, memory_mb: 512, output_mb: 1}
  toolchains: [/opt/checks]
toolchains: [/opt/venv]
require_sandbox: true
scopes:
  docs: ["docs/**", "*.md"]
"""


def faults(text: str) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        load_config(text)
    return [(row["type"], row["msg"].split(":")[0]) for row in caught.value.problems]


def test_the_whole_file_is_read() -> None:
    config = load_config(WHOLE)
    assert config.default_branch == "trunk"
    assert [agent.name for agent in config.builders] == ["anyone", "claude"]
    assert config.builders[1].argv == ("claude", "--print")
    assert config.builders[1].env_names == ("ANTHROPIC_API_KEY",)
    assert config.auditors[0].network is False
    assert config.toolchains_of(config.builders[1]) == ("/opt/claude", "/opt/venv")
    assert config.toolchains_of(config.auditors[0]) == ("/opt/venv",)
    assert config.gate_toolchains == ("/opt/checks", "/opt/venv")
    assert config.limits.memory_bytes == 512 * 1024 * 1024
    assert config.limits.network is False
    assert config.limits.processes == 512
    assert config.setup[0].argv == ("make", "deps")
    assert config.scopes == {"docs": ("docs/**", "*.md")}
    assert config.require_sandbox is True
    assert (config.allow.binary, config.allow.symlinks) == (True, False)
    step = config.normal[0]
    assert (step.reports, step.env, step.timeout_s, step.suite) == (
        ("unit.xml",),
        (("CI", "1"),),
        120,
        "unit",
    )


def test_suites_make_the_profiles() -> None:
    config = load_config(WHOLE)
    assert [step.name for step in config.gate_steps("normal")] == ["unit", "integration"]
    assert [step.name for step in config.gate_steps("strict")] == ["unit", "integration", "e2e", "safety"]


def test_profiles_may_mix_steps_and_suites() -> None:
    config = load_config(
        "gates:\n  suites: {fast: [{name: a, argv: [a]}], slow: [{name: b, argv: [b]}]}\n"
        "  profiles: {normal: [fast, {name: lint, argv: [ruff]}], strict: [fast, slow]}\n"
    )
    assert [step.name for step in config.normal] == ["a", "lint"]
    assert [step.name for step in config.strict] == ["a", "b"]


@pytest.mark.parametrize("written", ["normal", "strict"])
def test_a_profile_that_is_not_written_is_as_strong_as_the_one_that_is(written: str) -> None:
    config = load_config(f"gates: {{profiles: {{{written}: [{{name: t, argv: [t]}}]}}}}\n")
    assert [step.name for step in config.normal] == [step.name for step in config.strict] == ["t"]


def test_an_empty_file_is_valid_and_has_no_agents_and_no_steps() -> None:
    config = load_config("")
    assert (config.builders, config.auditors, config.normal, config.strict) == ((), (), (), ())
    assert config == load_config("# only a comment\n") == ProjectConfig.from_json({})
    assert ".github/**" in config.protected_paths


def test_json_round_trip_keeps_value_and_hash() -> None:
    config = load_config(WHOLE)
    again = ProjectConfig.from_json(config.to_json())
    assert again == config
    assert again.sha256 == config.sha256 != load_config("").sha256


def test_a_caller_that_changes_the_json_does_not_change_the_configuration() -> None:
    written = load_config(WHOLE).to_json()
    config = ProjectConfig.from_json(written)
    config.to_json()["default_branch"] = "elsewhere"
    written["default_branch"] = "elsewhere"
    assert config.to_json()["default_branch"] == "trunk"
    assert ProjectConfig.from_json(written).default_branch == "elsewhere"


@pytest.mark.parametrize("value", [[], "x", {"default_branch": object()}, {"scopes": float("nan")}, {1: 2}])
def test_what_is_no_configuration_is_refused(value: object) -> None:
    with pytest.raises(Invalid):
        ProjectConfig.from_json(value)


def test_an_agent_that_names_the_category_comes_before_one_that_takes_all() -> None:
    config = load_config(WHOLE)
    assert [agent.name for agent in config.builders_for("schema_contract_change")] == ["claude", "anyone"]
    assert [agent.name for agent in config.builders_for("tests")] == ["anyone"]


@pytest.mark.parametrize(
    "branch", ["main", "master", "trunk", "refs/heads/trunk", "release/1", "release/1/x", "production"]
)
def test_protected_branches_are_protected(branch: str) -> None:
    assert load_config(WHOLE).protects_branch(branch)


def test_a_run_branch_is_not_protected() -> None:
    assert not load_config(WHOLE).protects_branch("autonomous/run-1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n", ("unknown_key", "line 1")),
        ("builders:\n  x:\n    kind: command\n", ("missing", "line 2")),
        ("builders:\n  x:\n    kind: daemon\n", ("enum", "line 3")),
        ("builders:\n  x: {kind: pull,\n    argv: [a]}\n", ("argv_of_pull", "line 3")),
        ("builders:\n  x:\n    kind: command\n    argv: make test\n", ("type", "line 4")),
        ("builders:\n  x:\n    kind: command\n    argv: ['']\n", ("empty_program", "line 4")),
        (
            "builders:\n  x:\n    kind: pull\n    env_names:\n    - AUTOPACK_SECRET_KEY\n",
            ("forbidden_env", "line 5"),
        ),
        ("builders:\n  x:\n    kind: pull\n    env_names: [LD_PRELOAD]\n", ("forbidden_env", "line 4")),
        ("builders:\n  x:\n    kind: pull\n    timeout_s: 0\n", ("minimum", "line 4")),
        ("builders:\n  a..b: {kind: pull}\n", ("bad_id", "line 2")),
        ("default_branch: -x\n", ("bad_branch", "line 1")),
        ("default_branch: autonomous/x\n", ("bad_branch", "line 1")),
        ("protected_branches:\n- ok\n- a..b\n", ("bad_branch", "line 3")),
        ("scopes:\n  x:\n  - ok/**\n  - ../up\n", ("bad_glob", "line 4")),
        ("scopes:\n  x: []\n", ("minItems", "line 2")),
        ("protected_paths:\n- /etc\n", ("bad_glob", "line 2")),
        ("toolchains:\n- relative\n", ("bad_toolchain", "line 2")),
        ("toolchains:\n- /proc/1\n", ("bad_toolchain", "line 2")),
        ("gates:\n  toolchains:\n  - /opt/ok\n  - ../up\n", ("bad_toolchain", "line 4")),
        (
            "builders:\n  a:\n    kind: command\n    argv: [a]\n    toolchains: [/sys]\n",
            ("bad_toolchain", "line 5"),
        ),
        ("auditors:\n  a:\n    kind: pull\n    toolchains: [/opt]\n", ("toolchains_of_pull", "line 4")),
        ("gates:\n  suites:\n    mine: []\n  profiles:\n    normal: [other]\n", ("unused_suite", "line 3")),
        ("gates:\n  profiles:\n    normal:\n    - unit\n", ("unknown_suite", "line 4")),
        (
            "gates:\n  setup:\n  - {name: a, argv: [a]}\n  - {name: a, argv: [a]}\n",
            ("duplicate_step", "line 4"),
        ),
        ("gates:\n  setup:\n  - {name: a, argv: [a], reports: [../r.xml]}\n", ("bad_glob", "line 3")),
        ('{"default_branch": "a\\u0000"}', ("bad_text", "line 1")),
    ],
)
def test_a_fault_names_its_line(text: str, expected: tuple[str, str]) -> None:
    assert expected in faults(text)


def test_all_faults_are_told_at_once_in_the_order_of_their_lines() -> None:
    assert faults("x: 1\nversion: 2\ny: 1\n") == [
        ("unknown_key", "line 1"),
        ("const", "line 2"),
        ("unknown_key", "line 3"),
    ]


def test_named_scopes_are_resolved_and_unknown_ones_refused() -> None:
    config = load_config(WHOLE)
    plan = plan_of(phase("a", scope=("@docs", "src/**", "@types/node/**")))
    assert resolve_scopes(plan, config).phases[0].scope == ("docs/**", "*.md", "src/**", "@types/node/**")
    with pytest.raises(Invalid) as caught:
        resolve_scopes(plan_of(phase("a", scope=("src/**", "@nowhere"))), config)
    assert caught.value.problems[0]["loc"] == ["body", "phases", 0, "scope", 1]


@pytest.mark.parametrize("name", ["ruleset", "autopack", "plan", "strategy"])
def test_the_published_schemas_are_valid_schemas(name) -> None:
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize(
    ("document", "loc"),
    [
        ({"category_defaults": {"docs": {"max_builder_attempts": -1}}},
         ["category_defaults", "docs", "max_builder_attempts"]),
        ({"category_defaults": {"docs": {"max_builder_attempts": 1.5}}},
         ["category_defaults", "docs", "max_builder_attempts"]),
        ({"run_token_cap": "5"}, ["run_token_cap"]),
        ({"run_tokens": 5}, ["run_tokens"]),
        ({"category_defaults": {"schema_change": {}, "schema_contract_change": {}}},
         ["category_defaults", "schema_contract_change"]),
        ({"category_map": {"security_auth": "docs"}}, ["category_map", "security_auth"]),
        ({"protected_paths": ["/x"]}, ["protected_paths", 0]),
        ({"category_defaults": {"security_auth": {"max_auditor_attempts": 0}}},
         ["category_defaults", "security_auth"]),
        ({"debt_cleanup": {"max_phases": 6}}, ["debt_cleanup", "max_phases"]),
        ([], []),
    ],
)  # fmt: skip
def test_a_ruleset_that_breaks_a_rule_is_refused_at_its_place(document, loc) -> None:
    with pytest.raises(Invalid) as caught:
        check_ruleset(document)
    assert loc in [row["loc"] for row in caught.value.problems]


def test_whole_floats_are_integers_in_a_ruleset() -> None:
    checked = check_ruleset({"run_token_cap": 5.0})
    assert checked == {"run_token_cap": 5}
    assert type(checked["run_token_cap"]) is int


def test_a_ruleset_text_names_the_line() -> None:
    with pytest.raises(Invalid) as caught:
        check_ruleset_text('{\n "version": 1,\n "run_max_phases": -1\n}')
    assert caught.value.problems[0]["msg"].startswith("line 3: ")
