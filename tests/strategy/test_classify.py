"""What a phase is when it doesn't say: words and paths, the riskier reading first."""

from __future__ import annotations

import pytest

from strategy.classify import classify_category
from tests.strategy.builders import phase, row


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Rotate the API keys", "security_auth_change"),
        ("Write docs and tests for the login page", "security_auth_change"),
        ("Add a migration for the orders table", "schema_contract_change"),
        ("Apply the codemod", "bulk_multi_file_operation"),
        ("Refactor the parser and add tests", "cross_cutting_refactor"),
        ("Rebuild the plugin registry", "index_registry_change"),
        ("Implement the export endpoint", "feature_scaffolding"),
        ("Remove dead code", "debt_cleanup"),
        ("Raise the coverage", "tests"),
        ("Fix a typo in the README", "docs"),
        ("Think about it", "general"),
        ("List the authors", "general"),
    ],
)
def test_words_show_the_category(name: str, category: str) -> None:
    assert classify_category(phase("a", name=name))[0] == category


@pytest.mark.parametrize(
    ("scope", "category"),
    [
        (("docs/**",), "docs"),
        (("docs/**", "src/**"), "general"),
        (("tests/**", "app/migrations/**"), "schema_contract_change"),
        (("src/auth/**",), "security_auth_change"),
        (("tests/**",), "tests"),
    ],
)
def test_paths_show_the_category_and_one_risky_path_is_enough(scope: tuple, category: str) -> None:
    assert classify_category(phase("a", scope=scope))[0] == category


def test_the_choice_is_explained() -> None:
    found = row(phase("a", name="Fix a typo in the README"))
    assert found["because"] == [
        "category docs: the text says 'typo'",
        "complexity low: the category's",
        "mode tweak_light: low, and the text says 'typo'",
    ]


def test_what_is_declared_is_not_overruled() -> None:
    found = row(
        phase("a", name="Rotate the passwords", task_category="docs", complexity="low", builder_mode="own")
    )
    assert (found["task_category"], found["builder_mode"], found["because"]) == ("docs", "own", [])


def test_large_words_raise_the_complexity() -> None:
    assert (
        row(phase("a", name="Redesign the thing", task_category="feature_scaffolding"))["complexity"]
        == "high"
    )


def test_one_or_two_files_of_low_complexity_are_a_light_tweak() -> None:
    assert row(phase("a", task_category="docs", scope=("README.md",)))["builder_mode"] == "tweak_light"
    assert row(phase("a", task_category="docs", scope=("docs/**",)))["builder_mode"] is None
