"""`autopack.yaml`, an operator's configuration of one project, as frozen values.

Read with `load_config`; stored as JSON on the project (`to_json`, `from_json`). Nothing here comes from the
managed repository, a plan or a request.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from strategy.canonical import canonical_bytes, sha256_hex
from strategy.config_checks import config_problems
from strategy.documents import Document, read_text, whole_numbers
from strategy.rules import canonical_category
from strategy.validation import check_document, refuse

ALWAYS_PROTECTED_BRANCHES = ("main", "master")
DEFAULT_PROTECTED_PATHS = (
    ".circleci/**", ".github/**", ".gitlab-ci.yml", ".gitlab/**", "Jenkinsfile", "azure-pipelines.yml",
    "autopack.yaml", "bitbucket-pipelines.yml", "project_ruleset_*.json",
)  # fmt: skip
SUITES_OF_PROFILE = {
    "normal": ("unit", "integration"),
    "strict": ("unit", "integration", "e2e", "safety_critical"),
}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """A builder or auditor. `kind` is pull or command; `categories` empty takes all; timeout in seconds.

    `toolchains` are shown to it alone, before the project's.
    """

    name: str
    kind: str
    argv: tuple[str, ...] = ()
    env_names: tuple[str, ...] = ()
    timeout_s: int = 1800
    categories: tuple[str, ...] = ()
    network: bool = True
    toolchains: tuple[str, ...] = ()
    description: str = ""

    def takes(self, category: str) -> bool:
        """Tell whether the agent takes phases of the category (either spelling)."""
        return not self.categories or self.names(category)

    def names(self, category: str) -> bool:
        """Tell whether the agent lists the category itself."""
        wanted = canonical_category(category, {})
        return any(canonical_category(listed, {}) == wanted for listed in self.categories)


@dataclass(frozen=True, slots=True)
class GateStep:
    """One command of a gate. `reports`: JUnit files or globs in the checkout; `env`: (name, value) pairs."""

    name: str
    argv: tuple[str, ...]
    timeout_s: int = 600
    reports: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    suite: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Return everything that the command is given and that may name a file: argv, and `NAME=value` of `env`."""
        return (*self.argv, *(f"{name}={value}" for name, value in self.env))


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What a gate run may use; sizes in mebibytes, times in seconds."""

    wall_s: int = 1800
    cpu_s: int = 1800
    memory_mb: int = 4096
    processes: int = 512
    output_mb: int = 64
    file_mb: int = 1024
    network: bool = False

    @property
    def memory_bytes(self) -> int:
        """Return the address space limit of one process in bytes."""
        return self.memory_mb * 1024 * 1024

    @property
    def output_bytes(self) -> int:
        """Return the limit of one run's log in bytes."""
        return self.output_mb * 1024 * 1024

    @property
    def file_bytes(self) -> int:
        """Return the largest file that a process may write in bytes."""
        return self.file_mb * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Allow:
    """What patches may hold besides text files outside the protected paths."""

    binary: bool = False
    symlinks: bool = False
    submodules: bool = False
    protected_paths: bool = False


@dataclass(frozen=True, slots=True)
class ProjectConfig:
    """A project's configuration. `normal` and `strict` are the gate profiles' steps, suites resolved."""

    default_branch: str = "main"
    protected_branches: tuple[str, ...] = ()
    protected_paths: tuple[str, ...] = DEFAULT_PROTECTED_PATHS
    allow: Allow = Allow()
    builders: tuple[AgentConfig, ...] = ()
    auditors: tuple[AgentConfig, ...] = ()
    normal: tuple[GateStep, ...] = ()
    strict: tuple[GateStep, ...] = ()
    setup: tuple[GateStep, ...] = ()
    limits: GateLimits = GateLimits()
    toolchains: tuple[str, ...] = ()
    own_of_gates: tuple[str, ...] = ()
    require_sandbox: bool = False
    scopes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)

    def gate_steps(self, profile: str) -> tuple[GateStep, ...]:
        """Return the profile's steps; none is a waiver. Raises KeyError for an unknown profile."""
        return {"normal": self.normal, "strict": self.strict}[profile]

    @property
    def gate_toolchains(self) -> tuple[str, ...]:
        """Return what the sandbox of a gate shows: the gates' own toolchains, then the project's."""
        return (*self.own_of_gates, *self.toolchains)

    def toolchains_of(self, agent: AgentConfig) -> tuple[str, ...]:
        """Return what the sandbox of an agent shows: its own toolchains, then the project's."""
        return (*agent.toolchains, *self.toolchains)

    def builders_for(self, category: str) -> tuple[AgentConfig, ...]:
        """Return the builders that take the category: those that name it first, then by name."""
        return _for(self.builders, category)

    def auditors_for(self, category: str) -> tuple[AgentConfig, ...]:
        """Return the auditors that take the category: those that name it first, then by name."""
        return _for(self.auditors, category)

    def protects_branch(self, branch: str) -> bool:
        """Tell whether the branch is never written (full names under refs/heads/ are understood)."""
        name = branch.removeprefix("refs/heads/")
        fixed = (*ALWAYS_PROTECTED_BRANCHES, self.default_branch)
        return name in fixed or any(fnmatchcase(name, pattern) for pattern in self.protected_branches)

    def to_json(self) -> dict[str, Any]:
        """Return the document that `from_json` reads back to an equal value."""
        return copy.deepcopy(self.document)

    @property
    def sha256(self) -> str:
        """Return the hash of the document's canonical bytes."""
        return sha256_hex(canonical_bytes(self.document))

    @classmethod
    def from_json(cls, value: Any) -> ProjectConfig:
        """Return the configuration in a JSON document. Raises Invalid with rows `{type, loc, msg}`."""
        try:
            return _from_json_text(json.dumps(value, sort_keys=True, allow_nan=False))
        except (TypeError, ValueError, RecursionError):  # no JSON: the schema says what is wrong with it
            return _config(Document(whole_numbers(value)))


@lru_cache(maxsize=64)
def _from_json_text(text: str) -> ProjectConfig:
    """Return the configuration; remembered, as every step of a run reads it from its row."""
    return _config(Document(whole_numbers(json.loads(text))))


def load_config(text: str) -> ProjectConfig:
    """Return the configuration in an autopack.yaml text; an empty text is a valid one.

    Raises Invalid: each row's `msg` begins with `line N:`.
    """
    return _config(read_text(text))


def _config(document: Document) -> ProjectConfig:
    if document.value is None:
        document = Document({}, document.lines)
    value: dict[str, Any] = check_document("autopack", document)
    refuse(config_problems(value), document)
    gates = value.get("gates", {})
    suites = {name: _steps(rows, suite=name) for name, rows in gates.get("suites", {}).items()}
    profiles = _profiles(gates.get("profiles", {}), suites)
    return ProjectConfig(
        default_branch=value.get("default_branch", "main"),
        protected_branches=tuple(value.get("protected_branches", ())),
        protected_paths=tuple(value.get("protected_paths", DEFAULT_PROTECTED_PATHS)),
        allow=Allow(**value.get("allow", {})),
        builders=_agents(value.get("builders", {})),
        auditors=_agents(value.get("auditors", {})),
        normal=profiles["normal"],
        strict=profiles["strict"],
        setup=_steps(gates.get("setup", ())),
        limits=GateLimits(**gates.get("limits", {})),
        toolchains=tuple(value.get("toolchains", ())),
        own_of_gates=tuple(gates.get("toolchains", ())),
        require_sandbox=value.get("require_sandbox", False),
        scopes={name: tuple(globs) for name, globs in sorted(value.get("scopes", {}).items())},
        document=value,
    )


def _profiles(
    given: dict[str, Any], suites: dict[str, tuple[GateStep, ...]]
) -> dict[str, tuple[GateStep, ...]]:
    """Resolve both profiles. A profile that isn't written is never weaker than the one that is."""
    resolved: dict[str, tuple[GateStep, ...]] = {}
    for name, items in given.items():
        steps: list[GateStep] = []
        for item in items:
            steps += suites[item] if isinstance(item, str) else _steps([item])
        resolved[name] = tuple(steps)
    if not given:
        for name, members in SUITES_OF_PROFILE.items():
            resolved[name] = tuple(step for suite in members for step in suites.get(suite, ()))
    written = resolved.get("normal", resolved.get("strict", ()))
    return {"normal": resolved.get("normal", written), "strict": resolved.get("strict", written)}


def _steps(rows: Any, *, suite: str | None = None) -> tuple[GateStep, ...]:
    return tuple(
        GateStep(
            name=row["name"],
            argv=tuple(row["argv"]),
            timeout_s=row.get("timeout_s", 600),
            reports=tuple(row.get("reports", ())),
            env=tuple(sorted(row.get("env", {}).items())),
            suite=suite,
        )
        for row in rows
    )


def _agents(rows: dict[str, dict[str, Any]]) -> tuple[AgentConfig, ...]:
    return tuple(
        AgentConfig(
            name=name,
            kind=row["kind"],
            argv=tuple(row.get("argv", ())),
            env_names=tuple(row.get("env_names", ())),
            timeout_s=row.get("timeout_s", 1800),
            categories=tuple(row.get("categories", ())),
            network=row.get("network", True),
            toolchains=tuple(row.get("toolchains", ())),
            description=row.get("description", ""),
        )
        for name, row in sorted(rows.items())
    )


def _for(agents: tuple[AgentConfig, ...], category: str) -> tuple[AgentConfig, ...]:
    taking = [agent for agent in agents if agent.takes(category)]
    return tuple(sorted(taking, key=lambda agent: (not agent.names(category), agent.name)))
