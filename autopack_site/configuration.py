"""What each environment variable means, in one place, and the table of them that the documentation carries.

Names, defaults and limits are read out of `settings.py` itself (its calls of the readers of `env.py`), so that
the table can't differ from the code; the meanings stand here. `manage.py config_reference` prints the table.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SETTINGS = Path(__file__).with_name("settings.py")
_READERS = {"env_str", "env_bool", "env_int", "env_float", "env_list", "env_path"}

# Heading -> variable -> meaning. A unit ends the name: _S seconds, _BYTES bytes.
MEANINGS: dict[str, dict[str, str]] = {
    "Places and addresses": {
        "AUTOPACK_STATE_DIR": "Autopack's own state: mirrors, work folders, logs, embedded services.",
        "AUTOPACK_RUNS_DIR": "Where the files of runs and projects are written.",
        "AUTOPACK_BIND": "Address of the web process, `host:port` or `unix:PATH`.",
        "DATABASE_URL": "PostgreSQL, the truth. Unset: the embedded server of the state folder while it runs.",
        "AUTOPACK_REDIS_URL": "Redis, the broker (`redis://`, `rediss://`, `unix://`). Unset: the embedded one.",
        "AUTOPACK_CONN_MAX_AGE_S": "How long a database connection is kept for further requests.",
        "AUTOPACK_PREPARED_STATEMENTS": "0: no statements prepared on connections, for a pooler that gives each "
        "transaction another one.",
    },
    "Safety": {
        "AUTOPACK_PRODUCTION": "1 makes an unsafe configuration (weak key, debug, any host) refuse to start.",
        "AUTOPACK_SECRET_KEY": "Signs admin sessions. Unset: generated at the first `up`; production demands one.",
        "AUTOPACK_ALLOWED_HOSTS": "Host names that requests may name.",
        "AUTOPACK_BEHIND_TLS": "1: a proxy speaks TLS for us and sets X-Forwarded-Proto; cookies by TLS only, HSTS.",
        "AUTOPACK_HSTS_S": "How long browsers are told to use TLS only, where AUTOPACK_BEHIND_TLS is on.",
        "AUTOPACK_TRUSTED_ORIGINS": "Further origins whose forms are taken, `https://name:port`: where a proxy "
        "changes the Host header.",
        "AUTOPACK_OPEN_LOOPBACK": "1 lets calls without a token act as one legacy client; loopback only, "
        "never in production.",
        "AUTOPACK_OPEN_PROMETHEUS": "1 lets `/prometheus` be read without a token from the machine itself, "
        "not through a proxy.",
        "AUTOPACK_DEBUG": "Django's debug pages; never in production.",
        "AUTOPACK_GIT_CREDENTIALS": "Who Autopack is to https servers: rows `https://user:password@host[/path]`, "
        "as in git's credential store. A secret: give it as a file.",
        "AUTOPACK_GIT_CA_PATH": "A file of certificates (PEM) that https servers of repositories are checked "
        "against, instead of the system's.",
        "AUTOPACK_GIT_SSH_KEY_PATH": "The private key for ssh servers, and no other. Unset: the user's own keys and "
        "agent.",
        "AUTOPACK_GIT_KNOWN_HOSTS_PATH": "Host keys of ssh servers, and no others. Unset: the user's `known_hosts`.",
        "AUTOPACK_SANDBOX_UID_BASE": "Under root: first of the 4,096 uids that gates and agents run as.",
        "AUTOPACK_UID_LOCK_DIR": "Under root: where those uids are locked, for all Autopacks of the machine.",
        "AUTOPACK_SERVICE_USER": "Under root: the user that the embedded servers run as.",
    },
    "Limits on what comes in": {
        "AUTOPACK_MAX_BODY_BYTES": "Largest request body.",
        "AUTOPACK_MAX_PATCH_BYTES": "Largest patch.",
        "AUTOPACK_MAX_WAITERS": "Long polls and streams that one web process holds; the next caller gets 204 and "
        "Retry-After.",
        "AUTOPACK_STREAM_LIMIT_S": "How long one stream of events or of a gate's log lasts; then the client resumes.",
        "AUTOPACK_TOKEN_REQUESTS_PER_MINUTE": "Requests of one token: a bucket that refills evenly. 0 is no limit.",
        "AUTOPACK_ADDRESS_REQUESTS_PER_MINUTE": "The same for one address (of IPv6, one /64). 0 is no limit.",
        "AUTOPACK_FAILED_TOKENS_PER_MINUTE": "Refused tokens of one address; further ones get 429. 0 is no limit.",
        "AUTOPACK_TRUSTED_PROXIES": "Proxies in front that write X-Forwarded-For; 0: the connection's own address.",
        "AUTOPACK_IDEMPOTENCY_WAIT_S": "How long a repeat waits for the first request with its `Idempotency-Key`.",
        "AUTOPACK_IDEMPOTENCY_OWNER_S": "After so long without an answer that first request counts as dead.",
        "AUTOPACK_MAX_JOINTS_PER_PHASE": "How many known issues the reports of one phase may make one; "
        "what is reported beyond it stays apart and is told in both histories.",
        "AUTOPACK_APPLY_LIMIT_S": "How long `builder_result` waits for the candidate before it answers without.",
    },
    "The engine's clocks": {
        "AUTOPACK_LEASE_TTL_S": "How long a claim lasts without a heartbeat, unless the claim asks otherwise.",
        "AUTOPACK_LEASE_RENEW_S": "How often a command agent's and a gate's lease is renewed.",
        "AUTOPACK_LEASE_LOST_S": "Without a renewal for so long the agent or gate is killed; less than the lease.",
        "AUTOPACK_SWEEP_S": "Period of the sweep that finds expired leases and lost messages.",
        "AUTOPACK_AGING_SWEEP_S": "Period of the sweep that ages the issue backlog.",
        "AUTOPACK_PROJECT_FILES_EVERY_S": "How often the file of a backlog of more than 5,000 entries is written at "
        "most; a smaller one at every change.",
        "AUTOPACK_OUTBOX_RESEND_S": "After so long without being done, work in the outbox is sent again.",
        "AUTOPACK_CLAIM_DEADLINE_S": "A phase that nobody claims for so long fails as environment.",
        "AUTOPACK_BUDGET_GRACE_S": "What an agent that has spent its budget is given to hand in what it has.",
        "AUTOPACK_GATE_BACKOFF_S": "Pause between the tries of a gate, and before a repository is fetched again.",
        "AUTOPACK_GATE_DEADLINE_S": "How long a gate may wait, and then each try take; then it is infra_failed.",
        "AUTOPACK_MAX_LOST_ATTEMPTS": "How many agents of one phase may vanish before it fails as environment.",
        "AUTOPACK_SOFT_SHUTDOWN_S": "What a worker that is told to stop allows its tasks to finish in.",
    },
    "Processes of `manage.py up`": {
        "AUTOPACK_WEB_WORKERS": "Web processes.",
        "AUTOPACK_WEB_THREADS": "Threads of each; keep it above AUTOPACK_MAX_WAITERS.",
        "AUTOPACK_AGENT_WORKERS": "Command agents that run at once.",
        "AUTOPACK_GATE_WORKERS": "Gates that run at once.",
        "AUTOPACK_MERGE_WORKERS": "Processes that step runs, build candidates and move branches.",
        "AUTOPACK_SWEEP_WORKERS": "Processes for sweeps and files of runs.",
    },
    "Logs": {
        "AUTOPACK_LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR; unset, `manage.py` commands log from WARNING on.",
        "AUTOPACK_LOG_JSON": "1 writes one JSON object a line.",
    },
}
# Those that the README shows.
COMMON = (
    "AUTOPACK_STATE_DIR", "AUTOPACK_RUNS_DIR", "AUTOPACK_BIND", "DATABASE_URL", "AUTOPACK_REDIS_URL",
    "AUTOPACK_PRODUCTION", "AUTOPACK_SECRET_KEY", "AUTOPACK_ALLOWED_HOSTS", "AUTOPACK_OPEN_LOOPBACK",
    "AUTOPACK_LEASE_TTL_S", "AUTOPACK_CLAIM_DEADLINE_S", "AUTOPACK_AGENT_WORKERS", "AUTOPACK_GATE_WORKERS",
    "AUTOPACK_MAX_PATCH_BYTES",
)  # fmt: skip
# Read, but not for operators: the fault tests' (integration/crash.py). Production refuses it.
FOR_TESTS = ("AUTOPACK_CRASH_DIR",)
# Read outside settings.py: variable -> default as the table shows it.
ELSEWHERE = {"AUTOPACK_SERVICE_USER": "`nobody`"}
# What the code can't say of a default that is computed.
_COMPUTED = {
    "AUTOPACK_SECRET_KEY": "generated",
    "DATABASE_URL": "embedded",
    "AUTOPACK_REDIS_URL": "embedded",
    "AUTOPACK_LOG_LEVEL": "`INFO`",
    "AUTOPACK_UID_LOCK_DIR": "`/run/autopack`",
}


@dataclass(frozen=True)
class Setting:
    """One variable as settings.py reads it. `default` and `minimum` are Markdown and may be empty."""

    name: str
    default: str
    minimum: str = ""


def settings_read(source: str) -> Iterator[Setting]:
    """Yield each variable that the text of a settings module reads through env.py, in the text's order."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        if isinstance(call.func, ast.Name) and call.func.id in _READERS:
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            default = keywords.get("default", call.args[1] if len(call.args) > 1 else None)
            name = ast.literal_eval(call.args[0])
            minimum = keywords.get("minimum")
            yield Setting(
                name=name,
                default=_COMPUTED.get(name) or _shown(default),
                minimum="" if minimum is None else ast.unparse(minimum),
            )


def known() -> dict[str, Setting]:
    """Return every variable that operators may set, by name."""
    found = {row.name: row for row in settings_read(SETTINGS.read_text(encoding="utf-8"))}
    found |= {name: Setting(name, default) for name, default in ELSEWHERE.items()}
    return {name: row for name, row in found.items() if name not in FOR_TESTS}


def tables() -> str:
    """Return the whole reference as Markdown: a heading and a table for each group of variables."""
    parts = [f"### {heading}\n\n{table(meanings)}" for heading, meanings in MEANINGS.items()]
    return "\n".join(parts)


def common_table() -> str:
    """Return the README's table: the variables that are most often set."""
    meanings = {name: text for group in MEANINGS.values() for name, text in group.items()}
    return table({name: meanings[name] for name in COMMON})


def table(meanings: Mapping[str, str]) -> str:
    """Return variable -> meaning as a Markdown table with the code's defaults and limits."""
    rows = known()
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, meaning in meanings.items():
        row = rows[name]
        least = f" At least {row.minimum}." if row.minimum not in ("", "0", "0.0", "1") else ""
        lines.append(f"| `{name}` | {row.default} | {meaning}{least} |")
    return "\n".join(lines) + "\n"


def _shown(default: ast.expr | None) -> str:
    """Return a default as people read it: products multiplied, paths below the checkout by their names.

    Raises ValueError for one that only running code knows: `_COMPUTED` says that in words.
    """
    if default is None:
        return ""
    if isinstance(default, ast.BinOp) and isinstance(default.right, ast.Constant):
        if isinstance(default.op, ast.Div):
            return f"`{ast.literal_eval(default.right)}` in the checkout"
        if isinstance(default.op, ast.Mult):
            return f"{_product(default):,}"
    value = ast.literal_eval(default)
    if isinstance(value, str):
        return f"`{value}`" if value else "empty"
    return f"{value:g}" if isinstance(value, float) else str(int(value))


def _product(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp):
        return _product(node.left) * _product(node.right)
    return int(ast.literal_eval(node))
