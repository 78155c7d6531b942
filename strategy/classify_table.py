"""The published table of words and paths that show what a phase is, as data that people read.

Words are lower case; several are a phrase; `*` at the end stands for the rest of the last word. In paths, which
are held against a phase's scope, `*` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TableRow:
    """What in a phase shows a category, a least complexity, a builder mode. `number` is 0 for published rows."""

    category: str | None
    words: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    complexity: str | None = None
    builder_mode: str | None = None
    number: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the row as a ruleset writes it."""
        row: dict[str, Any] = {"category": self.category, "complexity": self.complexity}
        row["builder_mode"] = self.builder_mode
        found = {name: value for name, value in row.items() if value is not None}
        return {**found, "words": list(self.words), "paths": list(self.paths)}


# From the riskiest to the most harmless: the first match wins.
PUBLISHED_ROWS: tuple[TableRow, ...] = (
    TableRow(
        "security_auth_change",
        ("auth", "authn", "authz", "oauth", "oauth2", "authenticat*", "authoris*", "authoriz*", "login", "logout",
         "password", "passwords", "credential", "credentials", "permission", "permissions", "encrypt*", "decrypt*",
         "crypto*", "secret", "secrets", "jwt", "csrf", "saml", "sso", "security", "vulnerab*", "access token",
         "access tokens", "api key", "api keys", "rbac"),
        ("*auth/*", "*security/*", "*crypto*", "*permissions*", "*secrets*"),
    ),
    TableRow(
        "schema_contract_change",
        ("schema", "schemas", "migration", "migrations", "ddl", "alter table", "alter tables", "add column",
         "add columns", "drop column", "drop columns", "api contract", "api contracts", "openapi", "protobuf",
         "wire format", "wire formats", "breaking change", "breaking changes"),
        ("*migrations/*", "*.sql", "*.proto", "*openapi*", "*.schema.json", "*schema/*"),
    ),
    TableRow(
        "bulk_multi_file_operation",
        ("bulk", "mass rename*", "mass change*", "mass edit*", "mass update*", "codemod", "codemods", "all files",
         "every file", "across the codebase", "across the code base", "across the repository", "across the repo",
         "across the project", "repo wide", "repository wide", "tree wide", "reformat everything"),
    ),
    TableRow(
        "cross_cutting_refactor",
        ("refactor*", "restructur*", "re architect*", "rearchitect*", "cross cutting", "rewrit*", "overhaul*",
         "extract module", "extract modules", "extract package", "extract packages", "extract service",
         "extract services", "decoupl*"),
    ),
    TableRow(
        "index_registry_change",
        ("registry", "registries", "reindex*", "index file*", "index registry*", "index maintenance*",
         "index change*", "index rebuild*", "indexes file*", "indexes registry*", "indexes maintenance*",
         "indexes change*", "indexes rebuild*"),
        ("*registry*",),
    ),
    TableRow(
        "external_code_intake",
        ("vendor", "vendored", "vendoring", "third party code", "import external code", "copy from",
         "copy code from", "fork of"),
        ("vendor/*", "*third_party/*"),
    ),
    TableRow(
        "external_feature_reuse",
        ("external feature*", "external librar*", "reuse external", "reuse of external", "port feature from",
         "port features from", "port code from", "port codes from"),
    ),
    TableRow(
        "feature_scaffolding",
        ("scaffold*", "feature", "features", "implement*", "endpoint", "endpoints", "skeleton", "boilerplate",
         "new module", "new command"),
    ),
    TableRow("debt_cleanup", ("debt", "cleanup", "clean up", "dead code", "lint*", "tidy*", "deprecat*", "unused")),
    TableRow(
        "tests",
        ("test", "tests", "testing", "coverage", "fixture", "fixtures", "unit test", "unit tests"),
        ("tests/*", "test/*", "*/tests/*", "*test_*.py", "*_test.*", "*.test.*", "*.spec.*"),
    ),
    TableRow(
        "docs",
        ("doc", "docs", "documentation", "documenting", "readme", "changelog", "docstring", "docstrings", "comment",
         "comments", "typo", "typos", "wording", "tutorial", "tutorials"),
        ("docs/*", "doc/*", "*.md", "*.rst", "*.adoc", "LICENSE*"),
    ),
)  # fmt: skip

# These are shown only by a scope that lies wholly under their globs; for the risky rows one path is enough.
HARMLESS = frozenset({"tests", "docs"})


HIGH_WORDS: tuple[str, ...] = (
    "rewrit*", "overhaul*", "redesign*", "rearchitect*", "re architect*", "concurren*", "distributed", "large scale",
    "complex",
)  # fmt: skip
TWEAK_WORDS: tuple[str, ...] = (
    "typo", "typos", "tweak*", "one line", "one liner", "wording", "bump*", "small fix*"
)  # fmt: skip

MODE_BY_CATEGORY: dict[str, str] = {
    "schema_contract_change": "schema_heavy",
    "cross_cutting_refactor": "refactor_heavy",
    "bulk_multi_file_operation": "refactor_heavy",
    "index_registry_change": "refactor_heavy",
    "feature_scaffolding": "scaffolding_heavy",
}


def words_pattern(phrases: Sequence[str]) -> re.Pattern[str]:
    """Return what finds whole words in lower-case text, a last `*` being the rest of one. Nothing else is special."""
    words = ((phrase, plain_words(phrase.replace("*", " "))) for phrase in phrases)
    parts = [re.escape(plain) + (r"\w*" if phrase.endswith("*") else "") for phrase, plain in words if plain]
    return re.compile(r"\b(?:" + "|".join(parts) + r")\b" if parts else r"(?!)")


def plain_words(text: str) -> str:
    """Return the lower-case words of text, parted by single spaces."""
    return re.sub(r"[\W_]+", " ", text.lower()).strip()
