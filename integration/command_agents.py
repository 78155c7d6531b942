"""Command agents: any program, in a checkout of its own, under a lease, inside a sandbox.

One service stands behind these and the agents that claim over HTTP: both submit to `runs.services`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from autopack_site.kernel.errors import AutopackError, Conflict
from integration import apply, crash
from integration.cells import Cell, SandboxRequired, cell
from integration.collect import collect
from integration.last_words import TAIL_BYTES
from integration.logs import LogWriter, tail
from integration.mirror import Mirror
from integration.papers import BadResult, issues_of, read_result, text_of, usage_of, write_brief
from integration.patch_errors import PatchRefused
from integration.redaction import redact
from integration.renewal import Renewal
from integration.repository import Work, log_path, mirror_of, work_folder
from integration.sandbox.errors import TreeTooDeep
from integration.sandbox.spec import MIB, Limits, Outcome
from integration.sandbox.visibility import hint, missing_toolchains
from integration.spending import Spending
from runs import outbox, services
from runs.agents import config_of, serving
from runs.authorship import barred_from_open
from runs.figures import Figures
from runs.lifecycle import Cause
from runs.models import Phase, Run
from runs.services import AuditResult, BuildResult, Claim, SuggestedPatch
from strategy.config import AgentConfig

log = structlog.get_logger(__name__)
UNSEEN = Figures()
MAX_LOG_BYTES = 32 * MIB
GRACE_SHARE = 0.5  # of the time until the lease ends; the rest is for collecting what is there
MAX_LAST_CHARS = 600
MIN_ENTRUSTED_CHARS = 8
STOPPED = "stopped"  # a status that is no success
HISTORY = 20  # commits of history that a checkout carries


@dataclass(frozen=True)
class _Failure:
    """How an agent failed, in the words of the run's history."""

    code: str
    reason: str
    cause: Cause = Cause.REVIEW


def work(phase_pk: int, kind: str) -> None:
    """Serve one phase with the command agent that its project declares: claim, run, submit.

    Safe to repeat and to race: the claim decides who works. An agent that is lost with its worker costs
    nothing but the lease's time.
    """
    phase = Phase.objects.select_related("run__project").filter(pk=phase_pk).first()
    if phase is None:
        return
    agent = serving(phase.run, phase, kind, but=barred_from_open(phase) if kind == "audit" else "")
    if agent is None:
        outbox.settle("agent.work", f"{phase_pk}:{kind}")
        return
    claim = services.claim_phase(
        phase.run_id, agent=agent.name, kind=kind, phase_pk=phase_pk, ttl_s=settings.LEASE_TTL_S
    )
    if claim is None:
        return
    crash.line("phase-claimed")

    with work_folder(claim.kind) as own:
        out = own.path / "out"
        out.mkdir(mode=0o700)
        spending = Spending(claim, papers=own.path / "papers", out=out, agent=agent.name)
        with Renewal(spending.beat, has_news=spending.has_news) as renewal:
            try:
                attempt_id = _serve(phase.run, agent, claim, own, spending, renewal.is_lost)
            except Conflict as error:
                log.info("agent.lease_lost", attempt_id=claim.attempt_id, code=error.code)
                return
    crash.line("result-submitted")
    if attempt_id is not None:
        apply.build(attempt_id)


def _serve(
    run: Run,
    agent: AgentConfig,
    claim: Claim,
    own: Work,
    spending: Spending,
    is_lost: Callable[[], bool],
) -> str | None:
    """Run the agent and hand in what came of it; return the attempt whose candidate is to be built."""
    mirror = mirror_of(run.project)
    folder = own.path
    checkout, out = folder / "checkout", folder / "out"
    try:
        _check_out(mirror, claim, checkout)
    except (AutopackError, OSError) as error:  # with a mirror that is gone even the commit is unknown
        _fail(claim, _Failure("checkout-failed", str(error), Cause.ENVIRONMENT))
        return None
    config = config_of(run)
    toolchains = config.toolchains_of(agent)
    if absent := missing_toolchains(toolchains):
        reason = f"The project's toolchains name what is not on this machine: {', '.join(absent)}"
        _fail(claim, _Failure("toolchain-missing", reason, Cause.ENVIRONMENT))
        return None
    env = write_brief(folder / "papers", claim.brief, usage=spending.usage_path, budget=spending.budget_path)
    spending.start()
    try:
        with cell(
            checkout,
            toolchains=toolchains,
            readonly=(folder / "papers",),
            writable=(out,),
            hold=(own.lock,),
            require_sandbox=config.require_sandbox,
        ) as place:
            told = {**env, "AUTOPACK_RESULT": str(out / "result.json")}
            outcome = _run(place, agent, claim, told, is_lost, spending)
            place.take_back()
    except SandboxRequired as error:
        _fail(claim, _Failure(error.code, error.detail, Cause.ENVIRONMENT))
        return None
    except TreeTooDeep as error:  # what it left can't be read, and is its doing: an attempt like any other
        _fail(claim, _Failure(error.code, error.detail), spending.finish())
        return None
    except OSError as error:
        _fail(claim, _disk(error), spending.finish())
        return None
    if outcome.reason == "cancelled":
        return None
    crash.line("agent-finished")
    return _hand_in(mirror, claim, agent, toolchains, outcome, folder, spending.finish())


def _hand_in(
    mirror: Mirror,
    claim: Claim,
    agent: AgentConfig,
    toolchains: tuple[str, ...],
    outcome: Outcome,
    folder: Path,
    seen: Figures,
) -> str | None:
    """Submit the result, or say how the agent failed; one that was stopped keeps its tree so far."""
    try:
        result = read_result(folder / "out")
    except BadResult as error:
        result = {}
        if not outcome.asked and outcome.succeeded:
            _fail(claim, _Failure(f"{_who(claim)}-result", str(error)), seen)
            return None
    if outcome.asked and claim.kind == "build" and not (outcome.succeeded and _says_done(result)):
        result = {**result, "status": STOPPED}
    elif not outcome.succeeded and (failure := _failure_of(outcome, claim, agent, toolchains)):
        _fail(claim, failure, seen)
        return None
    if claim.kind == "audit":
        _submit_audit(claim, result, seen)
        return None
    with outbox.taken("candidate.build"):  # `work` builds it next
        return _submit_build(mirror, claim, folder / "checkout", result, seen)


def _says_done(result: dict[str, Any]) -> bool:
    """Tell whether an agent that was asked to end has said itself that its work is whole."""
    return text_of(result, "status") in ("success", "needs_review")


def _check_out(mirror: Mirror, claim: Claim, checkout: Path) -> None:
    target = claim.brief.get("target") or {}
    mirror.checkout(target.get("candidate_sha") or claim.base_commit, checkout, history=HISTORY)


def _run(
    place: Cell,
    agent: AgentConfig,
    claim: Claim,
    env: dict[str, str],
    is_lost: Callable[[], bool],
    spending: Spending,
) -> Outcome:
    with LogWriter(log_path(claim.run_id, f"{claim.kind}-{claim.attempt_id}"), MAX_LOG_BYTES) as out:
        return place.run(
            agent.argv,
            env={"PYTHONDONTWRITEBYTECODE": "1", **_given(agent), **env},
            network=agent.network,
            limits=Limits(
                wall_s=agent.timeout_s, cpu_s=2 * agent.timeout_s, processes=1024, grace_s=_grace_s()
            ),
            on_output=out.write,
            should_stop=is_lost,
            wish=spending.wish,
        )


def _grace_s() -> float:
    """Return how long an agent that is asked to end may take: what it leaves is handed in before its lease ends."""
    return max(float(settings.BUDGET_GRACE_S) * GRACE_SHARE, 0.1)


def _failure_of(
    outcome: Outcome, claim: Claim, agent: AgentConfig, toolchains: tuple[str, ...]
) -> _Failure | None:
    who = _who(claim)
    if outcome.succeeded:
        return None
    last = _last_words(log_path(claim.run_id, f"{claim.kind}-{claim.attempt_id}"), agent)
    detail = _without_secrets(outcome.detail, agent)  # of one that was not started it holds what was written
    if outcome.sandbox == "bubblewrap" and (due := hint(agent.argv, toolchains, f"{detail} {last}")):
        # What it was given to run with is not there for it: no attempt of any agent would fare better.
        return _Failure("hidden-path", f"{agent.name}: {due}. {last}"[:2000], Cause.ENVIRONMENT)
    if outcome.reason == "start_failed":
        reason = f"{agent.argv[0]} could not be started: {detail}. {last}"
        return _Failure("missing-command", reason[:2000], Cause.ENVIRONMENT)
    if outcome.reason == "timeout":
        return _Failure(f"{who}-timeout", f"{agent.name} was stopped after {agent.timeout_s} s")
    how = f"exit code {outcome.exit_code}" if outcome.exit_code is not None else detail or outcome.reason
    return _Failure(f"{who}-failed", f"{agent.name}: {how}. {last}"[:2000])


def _disk(error: OSError) -> _Failure:
    return _Failure("work-folder-failed", str(error)[:2000], Cause.ENVIRONMENT)


def _last_words(path: Path, agent: AgentConfig) -> str:
    """Return the end of what an agent wrote, for a reason that every reader sees, without what it was entrusted with.

    What is read is longer than what is told, so that no secret is cut in two before it is found.
    """
    if not path.exists():
        return ""
    text = _without_secrets(tail(path, TAIL_BYTES).decode("utf-8", "replace"), agent)
    return text.strip()[-MAX_LAST_CHARS:]


def _without_secrets(text: str, agent: AgentConfig) -> str:
    for name, value in sorted(_given(agent).items(), key=lambda item: -len(item[1])):
        if len(value) >= MIN_ENTRUSTED_CHARS:  # a shorter one is a setting, and found in any text
            text = text.replace(value, f"[redacted: {name}]")
    return redact(text)


def _given(agent: AgentConfig) -> dict[str, str]:
    """Return the variables of this process that an agent is handed on."""
    return {name: os.environ[name] for name in agent.env_names if name in os.environ}


def _who(claim: Claim) -> str:
    return "builder" if claim.kind == "build" else "auditor"


def _fail(claim: Claim, failure: _Failure, seen: Figures = UNSEEN) -> None:
    services.fail_attempt(
        claim.lease_id,
        fence=claim.fence,
        code=failure.code,
        reason=failure.reason,
        cause=failure.cause,
        figures=seen,
    )


def _submit_build(
    mirror: Mirror, claim: Claim, checkout: Path, result: dict[str, Any], seen: Figures
) -> str | None:
    try:
        patch = collect(mirror, base=claim.base_commit, directory=checkout).patch
    except PatchRefused as error:
        cause = Cause.POLICY if error.is_policy else Cause.REVIEW
        _fail(claim, _Failure(error.code, error.detail, cause), seen)
        return None
    except AutopackError as error:
        _fail(claim, _Failure(error.code, error.detail, Cause.ENVIRONMENT), seen)
        return None
    except OSError as error:
        _fail(claim, _disk(error), seen)
        return None
    attempt = services.submit_build(
        claim.lease_id,
        fence=claim.fence,
        result=BuildResult(
            status=text_of(result, "status") or "success",
            patch=patch,
            usage=usage_of(result, seen),
            notes=text_of(result, "notes"),
            issues=issues_of(result, "suggested_issues", source="builder"),
        ),
        may_repeat=False,
    )
    return attempt.pk


def _submit_audit(claim: Claim, result: dict[str, Any], seen: Figures) -> None:
    verdict = text_of(result, "recommendation", "verdict")
    if verdict not in ("approve", "revise", "escalate"):
        _fail(
            claim, _Failure("auditor-no-verdict", f"The auditor gave no verdict but {verdict[:40]!r}"), seen
        )
        return
    rows = result.get("suggested_patches")
    patches = tuple(
        SuggestedPatch(text_of(row, "description"), str(row.get("patch_content") or "").encode())
        for row in (rows if isinstance(rows, list) else [])[:10]
        if isinstance(row, dict)
    )
    services.submit_audit(
        claim.lease_id,
        fence=claim.fence,
        result=AuditResult(
            verdict=verdict,
            notes=text_of(result, "review_notes", "notes"),
            patches=patches,
            issues=issues_of(result, "issues_found", source="auditor"),
            usage=usage_of(result, seen),
            confidence=text_of(result, "confidence") or "medium",
        ),
        may_repeat=False,
    )
