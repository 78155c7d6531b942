"""The floor of a no-op phase: the rows that the engine leaves, by raw SQL, and the bare plumbing between them.

Four transactions, since git works outside of them: submission, candidate with its waived gate, intent, end. No
lock, no check, no message, no HTTP, no supervisor. In a copy of the database, so that no worker meets its rows.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from benchmarks.agents import patch_for
from benchmarks.plumbing import commit_patch, git, move_ref
from benchmarks.raw import Connection, Cursor, Insert, now
from benchmarks.stage import copy_database
from benchmarks.start import RawRuns


def start(run_id: str, project_id: str, phases: int) -> None:
    """Start a run of one tier with phases of one line of work each."""
    from runs import services
    from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec

    plan = Plan(
        (TierSpec("t1", 0, "Tier"),),
        tuple(
            PhaseSpec(f"p{n}", "t1", n, f"Phase {n}", task_category="docs", complexity="low")
            for n in range(phases)
        ),
    )
    services.start_run(run_id, project_id=project_id, plan=plan, options=RunOptions(), by="benchmarks")


@dataclass
class _Run:
    """One run of the floor: its rows' ids and where its branch stands."""

    run_id: str
    tier: int
    phases: list[int]
    head: str
    versions: dict[str, int] = field(default_factory=dict)

    def next_version(self, subject: str) -> int:
        """Return the next version of the run or of one of its phases."""
        self.versions[subject] = self.versions.get(subject, 0) + 1
        return self.versions[subject]


class Floor:
    """Does phases in a repository and a database of its own. A context manager: it closes what it opened."""

    def __init__(self, folder: Path, source: Path, project_id: str = "bench-floor") -> None:
        from integration.models import GateRun, GitIntent
        from runs.models import Attempt, Lease, Outbox, Run, TokenEntry, Transition

        self.bare, self.source = folder / "floor.git", source
        self.inserts = {
            model.__name__: Insert(model)
            for model in (Attempt, GateRun, GitIntent, Lease, TokenEntry, Transition)
        }
        self.outbox = Insert(Outbox, conflict="ON CONFLICT DO NOTHING")
        git(self.bare, "init", "-q", "--bare", str(self.bare))
        git(self.bare, "fetch", "-q", str(source), "main")
        self.base = git(self.bare, "rev-parse", "FETCH_HEAD")
        self.likes = {}
        for phases in (1, 10):
            start(f"floor-like-{phases}", project_id, phases)
            self.likes[phases] = Run.objects.get(pk=f"floor-like-{phases}")
            self.likes[phases].strategy  # noqa: B018 (read now: the floor asks Django nothing later)
        self.url = copy_database()

    def __enter__(self) -> Floor:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held between measurements."""

    def measure(self, key: str, *, runs: int, phases: int, threads: int) -> list[float]:
        """Do all phases of the runs with so many threads; return the seconds of each phase."""
        spent: list[float] = []
        raw = RawRuns(self.likes[phases], self.url)
        waiting = []
        for number in range(runs):
            run_id = f"floor-{key}-{number}"
            tiers, rows = raw.insert(
                run_id, state="PHASE_QUEUEING", base_commit=self.base, head_commit=self.base
            )
            waiting.append(_Run(run_id, tiers[0], rows, self.base, {run_id: 1}))
        raw.connection.close()

        def work(mine: list[_Run]) -> None:
            from benchmarks.raw import connect

            connection = connect(self.url)
            for turn in range(phases):
                spent.extend([self._phase(connection, run, turn) for run in mine])
            connection.close()

        workers = [threading.Thread(target=work, args=(waiting[n::threads],)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if len(spent) != runs * phases:
            raise RuntimeError("a thread of the floor failed")
        return spent

    def _phase(self, connection: Connection, run: _Run, index: int) -> float:
        """Do one phase; return the seconds from its submission to its end."""
        phase, name, patch = run.phases[index], f"p{index}", patch_for(f"p{index}").encode()
        ids = {what: uuid4().hex for what in ("attempt", "lease", "gate", "intent")}
        with connection, connection.cursor() as cursor:
            self._claim(cursor, run, phase, name, ids)
        started = time.perf_counter()
        with connection, connection.cursor() as cursor:
            self._submit(cursor, run, phase, name, ids, patch)
        sha = commit_patch(self.bare, run.head, patch)
        move_ref(self.bare, f"refs/autopack/candidates/{run.run_id}/{name}/10", sha)
        with connection, connection.cursor() as cursor:
            self._candidate(cursor, run, phase, name, ids, sha)
        branch, tag = f"refs/heads/autonomous/{run.run_id}", f"refs/tags/autopack/{run.run_id}/{name}"
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM runs_outbox WHERE topic = 'candidate.merge' AND key = %s", [ids["attempt"]]
            )
            cursor.execute("UPDATE runs_attempt SET state = 'MERGING' WHERE id = %s", [ids["attempt"]])
            self.inserts["GitIntent"](
                cursor, id=ids["intent"], run_id=run.run_id, attempt_id=ids["attempt"], ref=branch, tag_ref=tag,
                old_sha=run.head, new_sha=sha, state="PLANNED", due_at=now(), created_at=now(),
            )  # fmt: skip
        move_ref(self.bare, branch, sha, run.head if index else "0" * 40)
        move_ref(self.bare, tag, sha)
        git(self.bare, "push", "-q", "--atomic", str(self.source), f"{sha}:{branch}", f"{sha}:{tag}")
        with connection, connection.cursor() as cursor:
            self._end(cursor, run, phase, name, ids, sha)
        run.head = sha
        if index + 1 < len(run.phases):
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE runs_phase SET ready_at = now() WHERE id = %s", [run.phases[index + 1]]
                )
        return time.perf_counter() - started

    def _claim(self, cursor: Cursor, run: _Run, phase: int, name: str, ids: dict[str, str]) -> None:
        at = now()
        cursor.execute(
            "UPDATE runs_phase SET state = 'EXECUTING', version = version + 1, fence = fence + 1,"
            " started_at = now(), tokens_reserved = 100 WHERE id = %s",
            [phase],
        )
        for table, column, value in (("runs_tier", "id", run.tier), ("runs_run", "run_id", run.run_id)):
            cursor.execute(
                f"UPDATE {table} SET tokens_reserved = tokens_reserved + 100 WHERE {column} = %s",
                [value],
            )
        self.inserts["Attempt"](
            cursor, id=ids["attempt"], run_id=run.run_id, phase_id=phase, kind="build", number=1, state="RUNNING",
            agent="raw", fence=1, base_commit=run.head, tokens_reserved=100, created_at=at,
        )  # fmt: skip
        self.inserts["Lease"](
            cursor, id=ids["lease"], run_id=run.run_id, phase_id=phase, attempt_id=ids["attempt"], owner="raw",
            fence=1, ttl_s=60.0, acquired_at=at, expires_at=at,
        )  # fmt: skip
        self._token(cursor, run, phase, ids, "reserve", 100)
        self._event(cursor, run, name, "QUEUED", "EXECUTING", "claimed")

    def _submit(
        self, cursor: Cursor, run: _Run, phase: int, name: str, ids: dict[str, str], patch: bytes
    ) -> None:
        cursor.execute("UPDATE runs_lease SET released_at = now() WHERE id = %s", [ids["lease"]])
        self._token(cursor, run, phase, ids, "release", 100)
        self._token(cursor, run, phase, ids, "settle", 1)
        for table, column, value in (
            ("runs_phase", "id", phase), ("runs_tier", "id", run.tier), ("runs_run", "run_id", run.run_id),
        ):  # fmt: skip
            cursor.execute(
                f"UPDATE {table} SET tokens_reserved = tokens_reserved - 100, tokens_used = tokens_used + 1"
                f" WHERE {column} = %s",
                [value],
            )
        cursor.execute(
            "UPDATE runs_attempt SET state = 'SUBMITTED', patch = %s, patch_hash = %s, submitted_at = now(),"
            " tokens_reserved = 0, tokens_used = 1, usage_source = 'reported' WHERE id = %s",
            [patch, "0" * 64, ids["attempt"]],
        )
        self._event(cursor, run, name, "EXECUTING", "EXECUTING", "submitted", moves=False)
        self._intend(cursor, "candidate.build", ids["attempt"])
        self._intend(cursor, "artefacts.write", run.run_id)

    def _candidate(
        self, cursor: Cursor, run: _Run, phase: int, name: str, ids: dict[str, str], sha: str
    ) -> None:
        at = now()
        cursor.execute(
            "DELETE FROM runs_outbox WHERE topic = 'candidate.build' AND key = %s", [ids["attempt"]]
        )
        cursor.execute(
            "UPDATE runs_attempt SET state = 'GREEN', candidate_sha = %s WHERE id = %s", [sha, ids["attempt"]]
        )
        cursor.execute(
            "UPDATE runs_phase SET state = 'CI_RUNNING', version = version + 2 WHERE id = %s", [phase]
        )
        cursor.execute("UPDATE runs_tier SET ci_runs_used = ci_runs_used + 1 WHERE id = %s", [run.tier])
        cursor.execute(
            "UPDATE runs_run SET ci_runs_used = ci_runs_used + 1, state = 'CI_RUNNING', version = version + 1"
            " WHERE run_id = %s",
            [run.run_id],
        )
        self.inserts["GateRun"](
            cursor, id=ids["gate"], run_id=run.run_id, phase_id=phase, attempt_id=ids["attempt"], number=1,
            profile="normal", candidate_sha=sha, patch_hash="0" * 64, base_commit=run.head,
            strategy_sha256="0" * 64, state="DONE", verdict="waived", deadline_at=at, created_at=at, ended_at=at,
        )  # fmt: skip
        self._event(cursor, run, name, "EXECUTING", "GATE", "applied")
        self._event(cursor, run, name, "GATE", "CI_RUNNING", "gate_started")
        self._event(cursor, run, name, "CI_RUNNING", "CI_RUNNING", "gate_waived", moves=False)
        self._event(cursor, run, run.run_id, "PHASE_EXECUTION", "CI_RUNNING", "checks_seen")
        self._intend(cursor, "candidate.merge", ids["attempt"])

    def _end(self, cursor: Cursor, run: _Run, phase: int, name: str, ids: dict[str, str], sha: str) -> None:
        cursor.execute(
            "UPDATE integration_gitintent SET state = 'DONE', ended_at = now() WHERE id = %s", [ids["intent"]]
        )
        cursor.execute("UPDATE runs_attempt SET state = 'MERGED' WHERE id = %s", [ids["attempt"]])
        cursor.execute(
            "UPDATE runs_run SET head_commit = %s, state = 'PHASE_QUEUEING', version = version + 2"
            " WHERE run_id = %s",
            [sha, run.run_id],
        )
        cursor.execute(
            "UPDATE runs_phase SET state = 'COMPLETE', version = version + 1, commit_sha = %s,"
            " completed_at = now() WHERE id = %s",
            [sha, phase],
        )
        self._event(cursor, run, name, "CI_RUNNING", "COMPLETE", "merged")
        self._event(cursor, run, run.run_id, "CI_RUNNING", "SNAPSHOT_CREATED", "snapshot_created")
        self._event(cursor, run, run.run_id, "SNAPSHOT_CREATED", "PHASE_QUEUEING", "queued")

    def _event(
        self, cursor: Cursor, run: _Run, subject: str, old: str, new: str, event: str, *, moves: bool = True
    ) -> None:
        self.inserts["Transition"](
            cursor, run_id=run.run_id, machine="run" if subject == run.run_id else "phase", subject=subject,
            version=run.next_version(subject) if moves else None, from_state=old, to_state=new, event=event,
            who="raw", at=now(),
        )  # fmt: skip

    def _token(
        self, cursor: Cursor, run: _Run, phase: int, ids: dict[str, str], kind: str, tokens: int
    ) -> None:
        self.inserts["TokenEntry"](
            cursor, run_id=run.run_id, tier_id=run.tier, phase_id=phase, attempt_id=ids["attempt"], kind=kind,
            envelope="build", tokens=tokens, usage_source="derived", at=now(),
        )  # fmt: skip

    def _intend(self, cursor: Cursor, topic: str, key: str) -> None:
        self.outbox(cursor, topic=topic, key=key, reference={"id": key}, due_at=now(), created_at=now())
