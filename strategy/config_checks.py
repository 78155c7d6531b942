"""Rules of autopack.yaml that a JSON Schema can't state: globs, branches, suites, names that must differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autopack_site.kernel.errors import problem
from autopack_site.kernel.ids import ID_RULE, is_valid_id
from strategy.names import branch_problem, glob_problem

Row = dict[str, Any]
Loc = list[str | int]

BUILT_IN_SUITES = frozenset({"unit", "integration", "e2e", "safety_critical"})
# The service's own secrets, and variables that make the loader run code: no agent may be given them.
FORBIDDEN_ENV_PREFIXES = ("AUTOPACK_", "LD_", "DYLD_")
FORBIDDEN_ENV = frozenset({"DATABASE_URL", "PGPASSWORD", "PATH", "HOME"})


def config_problems(value: dict[str, Any]) -> list[Row]:
    """Return a row for each rule that a document, valid by its schema, breaks."""
    return [
        *_branches(value),
        *_globs(value),
        *_agents(value),
        *_gates(value.get("gates", {})),
        *_toolchains(value.get("toolchains", ()), ["toolchains"]),
        *_toolchains(value.get("gates", {}).get("toolchains", ()), ["gates", "toolchains"]),
    ]


def _branches(value: dict[str, Any]) -> Iterator[Row]:
    wrong = branch_problem(value.get("default_branch", "main"))
    if wrong:
        yield problem("bad_branch", ["default_branch"], wrong)
    if value.get("default_branch", "main").startswith("autonomous/"):
        yield problem("bad_branch", ["default_branch"], "autonomous/ is where Autopack writes")
    for index, pattern in enumerate(value.get("protected_branches", ())):
        wrong = branch_problem(pattern, pattern=True)
        if wrong:
            yield problem("bad_branch", ["protected_branches", index], wrong)


def _globs(value: dict[str, Any]) -> Iterator[Row]:
    yield from _each_glob(value.get("protected_paths", ()), ["protected_paths"])
    for name, globs in value.get("scopes", {}).items():
        yield from _each_glob(globs, ["scopes", name])


def _each_glob(globs: Any, loc: Loc) -> Iterator[Row]:
    for index, glob in enumerate(globs):
        wrong = glob_problem(glob)
        if wrong:
            yield problem("bad_glob", [*loc, index], wrong)


def _agents(value: dict[str, Any]) -> Iterator[Row]:
    for role in ("builders", "auditors"):
        for name, row in value.get(role, {}).items():
            loc: Loc = [role, name]
            if not is_valid_id(name):
                yield problem("bad_id", loc, f"an agent's name is {ID_RULE}")
            if row["kind"] == "pull" and "argv" in row:
                yield problem(
                    "argv_of_pull", [*loc, "argv"], "a pull agent has no argv: Autopack doesn't start it"
                )
            if row["kind"] == "pull" and "toolchains" in row:
                yield problem(
                    "toolchains_of_pull",
                    [*loc, "toolchains"],
                    "a pull agent runs in no sandbox of Autopack's",
                )
            if "argv" in row and not row["argv"][0]:
                yield problem("empty_program", [*loc, "argv", 0], "the program's name is empty")
            yield from _toolchains(row.get("toolchains", ()), [*loc, "toolchains"])
            for index, env in enumerate(row.get("env_names", ())):
                if env in FORBIDDEN_ENV or env.startswith(FORBIDDEN_ENV_PREFIXES):
                    yield problem(
                        "forbidden_env", [*loc, "env_names", index], f"{env} is never handed to an agent"
                    )


def _gates(gates: dict[str, Any]) -> Iterator[Row]:
    suites = gates.get("suites", {})
    profiles = gates.get("profiles", {})
    used: set[str] = set(BUILT_IN_SUITES) if not profiles else set()
    yield from _steps(gates.get("setup", ()), ["gates", "setup"])
    for name, steps in suites.items():
        yield from _steps(steps, ["gates", "suites", name])
    for name, items in profiles.items():
        loc: Loc = ["gates", "profiles", name]
        for index, item in enumerate(items):
            if not isinstance(item, str):
                continue
            used.add(item)
            if item not in suites:
                yield problem("unknown_suite", [*loc, index], f"no suite is named {item!r}")
        yield from _steps(items, loc)
    for name in suites:
        if name not in used:
            text = f"the suite {name!r} is in no profile, so it would never run: name it under gates.profiles"
            yield problem("unused_suite", ["gates", "suites", name], text)


def _steps(items: Any, loc: Loc) -> Iterator[Row]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if isinstance(item, str):
            continue
        if item["name"] in seen:
            yield problem("duplicate_step", [*loc, index, "name"], f"two steps are named {item['name']!r}")
        seen.add(item["name"])
        if not item["argv"][0]:
            yield problem("empty_program", [*loc, index, "argv", 0], "the program's name is empty")
        yield from _each_glob(item.get("reports", ()), [*loc, index, "reports"])


def _toolchains(paths: Any, loc: Loc) -> Iterator[Row]:
    for index, path in enumerate(paths):
        parts = path.split("/")
        if not path.startswith("/") or ".." in parts or not path.isprintable() or not any(parts):
            yield problem("bad_toolchain", [*loc, index], "a toolchain is an absolute path below /")
        elif parts[1] in ("proc", "sys", "dev"):
            yield problem("bad_toolchain", [*loc, index], "kernel file systems can't be a toolchain")
