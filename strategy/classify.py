"""Category, complexity and builder mode of a phase that does not say: a table of words and paths.

Deterministic and explained. Where several rows match, the riskier wins: a phase that reads like docs and like
security is treated as security. What the plan declares is never overruled here; the engine only hardens it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from strategy.defaults import COMPLEXITIES, GENERAL
from strategy.types import PhaseSpec


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """Words (a pattern over lower-case words parted by one space) and globs that mean a category."""

    category: str
    words: re.Pattern[str]
    globs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Classification:
    """What a phase is, and why: `reasons` are sentences for people, in a fixed order."""

    category: str
    complexity: str
    builder_mode: str | None
    reasons: tuple[str, ...]


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(alternatives) + r")\b")


# From the riskiest to the most harmless: the first match wins.
CATEGORY_RULES: tuple[CategoryRule, ...] = (
    CategoryRule(
        "security_auth_change",
        _words(
            r"auth(?:n|z)?", r"oauth2?", r"authenticat\w*", r"authoris\w*", r"authoriz\w*", "login", "logout",
            r"passwords?", r"credentials?", r"permissions?", r"encrypt\w*", r"decrypt\w*", r"crypto\w*",
            r"secrets?", "jwt", "csrf", "saml", "sso", r"security", r"vulnerab\w*", r"access tokens?",
            r"api keys?", r"rbac",
        ),
        ("*auth/*", "*security/*", "*crypto*", "*permissions*", "*secrets*"),
    ),
    CategoryRule(
        "schema_contract_change",
        _words(
            r"schemas?", r"migrations?", "ddl", r"alter tables?", r"add columns?", r"drop columns?",
            r"api contracts?", "openapi", "protobuf", r"wire formats?", r"breaking changes?",
        ),
        ("*migrations/*", "*.sql", "*.proto", "*openapi*", "*.schema.json", "*schema/*"),
    ),
    CategoryRule(
        "bulk_multi_file_operation",
        _words(
            r"bulk", r"mass (?:rename|change|edit|update)\w*", r"codemods?", r"all files", r"every file",
            r"across the (?:code ?base|repository|repo|project)", r"repo(?:sitory)? wide",
            r"tree wide", "reformat everything",
        ),
        (),
    ),
    CategoryRule(
        "cross_cutting_refactor",
        _words(
            r"refactor\w*", r"restructur\w*", r"re architect\w*", r"rearchitect\w*", r"cross cutting",
            r"rewrit\w*", r"overhaul\w*", r"extract (?:module|package|service)s?", r"decoupl\w*",
        ),
        (),
    ),
    CategoryRule(
        "index_registry_change",
        _words(
            r"registr(?:y|ies)", r"reindex\w*",
            r"index(?:es)? (?:file|registry|maintenance|change|rebuild)\w*",
        ),
        ("*registry*",),
    ),
    CategoryRule(
        "external_code_intake",
        _words(
            r"vendor(?:ed|ing)?", r"third party code", r"import external code", r"copy (?:code )?from",
            "fork of",
        ),
        ("vendor/*", "*third_party/*"),
    ),
    CategoryRule(
        "external_feature_reuse",
        _words(r"external (?:feature|librar)\w*", r"reuse (?:of )?external", r"port (?:feature|code)s? from"),
        (),
    ),
    CategoryRule(
        "feature_scaffolding",
        _words(
            r"scaffold\w*", r"features?", r"implement\w*", r"endpoints?", r"skeleton", r"boilerplate",
            r"new module", r"new command",
        ),
        (),
    ),
    CategoryRule(
        "debt_cleanup",
        _words(r"debt", r"clean ?up", r"dead code", r"lint\w*", r"tidy\w*", r"deprecat\w*", r"unused"),
        (),
    ),
    CategoryRule(
        "tests",
        _words(r"tests?", r"testing", r"coverage", r"fixtures?", r"unit tests?"),
        ("tests/*", "test/*", "*/tests/*", "*test_*.py", "*_test.*", "*.test.*", "*.spec.*"),
    ),
    CategoryRule(
        "docs",
        _words(
            r"docs?", r"documentation", r"documenting", r"readme", r"changelog", r"docstrings?", r"comments?",
            r"typos?", r"wording", r"tutorials?",
        ),
        ("docs/*", "doc/*", "*.md", "*.rst", "*.adoc", "LICENSE*"),
    ),
)  # fmt: skip

# These are shown only by a scope that lies wholly under their globs; for the risky rows one path is enough.
_HARMLESS = frozenset({"tests", "docs"})

HIGH_WORDS = _words(
    r"rewrit\w*", r"overhaul\w*", r"redesign\w*", r"rearchitect\w*", r"re architect\w*", r"concurren\w*",
    r"distributed", r"large scale", r"complex",
)  # fmt: skip
TWEAK_WORDS = _words(r"typos?", r"tweak\w*", r"one lin(?:e|er)", r"wording", r"bump\w*", r"small fix\w*")

MODE_BY_CATEGORY: dict[str, str] = {
    "schema_contract_change": "schema_heavy",
    "cross_cutting_refactor": "refactor_heavy",
    "bulk_multi_file_operation": "refactor_heavy",
    "index_registry_change": "refactor_heavy",
    "feature_scaffolding": "scaffolding_heavy",
}


def plain_words(text: str) -> str:
    """Return the lower-case words of text, parted by single spaces."""
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def classify_category(phase: PhaseSpec) -> tuple[str, str]:
    """Return the category that words and paths show, and why; the riskiest of those that match."""
    words = plain_words(f"{phase.name} {phase.description}")
    for rule in CATEGORY_RULES:
        found = rule.words.search(words)
        if found:
            return rule.category, f"category {rule.category}: the text says '{found.group(0)}'"
        hits = [path for path in phase.scope if any(fnmatchcase(path, glob) for glob in rule.globs)]
        if hits and (rule.category not in _HARMLESS or len(hits) == len(phase.scope)):
            return rule.category, f"category {rule.category}: the scope holds {hits[0]}"
    return GENERAL, f"category {GENERAL}: no word or path of the table matches"


def classify_complexity(phase: PhaseSpec, row_complexity: str) -> tuple[str, str]:
    """Return the category's complexity, raised by words that speak of large work, and why."""
    found = HIGH_WORDS.search(plain_words(f"{phase.name} {phase.description}"))
    if found and row_complexity != "high":
        return "high", f"complexity high: the text says '{found.group(0)}'"
    return row_complexity, f"complexity {row_complexity}: the category's"


def classify_mode(phase: PhaseSpec, category: str, complexity: str) -> tuple[str | None, str]:
    """Return the builder mode, or None where no mode's rules fit, and why."""
    mode = MODE_BY_CATEGORY.get(category)
    if mode is not None and (mode != "scaffolding_heavy" or complexity != COMPLEXITIES[0]):
        return mode, f"mode {mode}: the category's"
    if complexity != COMPLEXITIES[0]:
        return None, "no mode: no rule of the table fits"
    found = TWEAK_WORDS.search(plain_words(f"{phase.name} {phase.description}"))
    if found:
        return "tweak_light", f"mode tweak_light: low, and the text says '{found.group(0)}'"
    if 1 <= len(phase.scope) <= 2 and not any(_is_glob(path) for path in phase.scope):
        return "tweak_light", "mode tweak_light: low, and the scope is one or two files"
    return None, "no mode: no rule of the table fits"


def _is_glob(path: str) -> bool:
    return path.endswith("/") or bool(set(path) & set("*?"))
