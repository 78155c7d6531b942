"""A ruleset held against what is recorded of past runs: where it would have stopped them, audited, capped.

From the past are known the plans, each attempt with its tokens, gate runs, issues and times. What agents would have
done under other limits is not: a replay stops counting where a cap would have been met, and never supposes that
something else would have happened instead (`LIMITS_OF_REPLAY`). Deterministic; reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from runs import trials
from runs.models import Run
from runs.replay_read import PastRun, read_past
from runs.replay_walk import Outcome, replay_run
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.models import Project
from strategy.rules import read_rules

MAX_RUNS = 1000
DEFAULT_RUNS = 40
_BATCH = 250
LIMITS_OF_REPLAY = (
    "What an agent would have done under other limits is not known: each run is followed as it was recorded, up to "
    "where a cap would have stopped it.",
    "Nothing is added: attempts and audits that another ruleset would have allowed or asked for are named, their "
    "tokens and verdicts are not guessed.",
    "Tokens of attempts whose usage is unknown count as nothing here; so does what was booked on a phase by hand.",
    "debt_cleanup phases are those that were inserted then: what other ones would have cost is not known.",
    "A patch's size is known where a candidate was made of it. What an agent would have written in place of one that "
    "is too large is not: its tokens stay, and the run is followed as it went on while an attempt is left.",
    "Gate runs, issues and minutes are known for a tier or a run as a whole: where they pass a cap is not.",
)


def replay(project: Project, given: str | Mapping[str, Any], *, runs: int = DEFAULT_RUNS) -> dict[str, Any]:
    """Return what the ruleset would have changed in the project's last ended runs, beside the ruleset in force.

    Raises Invalid for a ruleset that is refused, or a number of runs that is not 1 to MAX_RUNS.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise Invalid([problem("value_error", ["body", "runs"], f"A number from 1 to {MAX_RUNS}")])
    ruleset = trials.candidate(project, given)
    present = project.ruleset.document if project.ruleset else None
    tried = read_rules(ruleset)
    held = None if present is None else read_rules(present)
    rows: list[dict[str, Any]] = []
    totals, totals_in_force = _Totals(), _Totals()
    without_backlog = 0
    for past in _past(project, runs):
        without_backlog += past.backlog is None
        outcome = replay_run(past, tried)
        before = None if held is None else replay_run(past, held)
        totals.add(past, outcome)
        if before is not None:
            totals_in_force.add(past, before)
        rows.append(_row(past, outcome, before))
    found = totals.to_json()
    return {
        "project_id": project.project_id,
        "ruleset_version": ruleset["version"],
        "ruleset_sha256": sha256_hex(canonical_bytes(ruleset)),
        "in_force_version": present["version"] if present else None,
        "ruleset_differences": trials.ruleset_differences(present, ruleset),
        "summary": summary(found),
        "totals": found,
        "totals_in_force": totals_in_force.to_json() if present is not None else None,
        "runs": rows,
        "not_known": [*LIMITS_OF_REPLAY, *_without_backlog(without_backlog)],
    }


def summary(totals: Mapping[str, Any]) -> list[str]:
    """Return the replay in sentences."""
    count = totals["runs"]
    if not count:
        return ["No run of this project has ended yet: there is nothing to replay."]
    told = [f"{totals['runs_stopped']} of your last {count} runs would have been stopped by a cap."]
    told += [
        f"{row['runs']} by {row['cap']}, first in run {row['first_run']} at {row['first_place']}."
        for row in totals["caps"]
    ]
    if totals["runs_refused"]:
        told.append(f"{totals['runs_refused']} would have been refused at the start.")
    told.append(
        f"{totals['phases_audited']} phases would have needed an audit that they did not have, "
        f"{totals['audits_spared']} had one that would not have been needed."
    )
    told.append(
        f"{totals['gates_stricter']} phases would have had a stricter gate, {totals['gates_laxer']} a laxer one."
    )
    if totals["patches_refused"]:
        told.append(f"{totals['patches_refused']} phases would have had a patch refused as too large.")
    told.append(
        f"Spend would have been capped at {totals['tokens_kept']:,} of the {totals['tokens']:,} tokens recorded."
    )
    return told


def _without_backlog(count: int) -> Iterator[str]:
    if count:
        runs = "1 run that is" if count == 1 else f"{count} runs that are"
        yield f"For {runs} older than this release's records, rules that ask for the backlog don't hold."


def _past(project: Project, count: int) -> Iterator[PastRun]:
    ended = Run.objects.filter(project=project, completed_at__isnull=False)
    names = list(ended.order_by("-created_at", "run_id").values_list("pk", flat=True)[:count])
    for start in range(0, len(names), _BATCH):
        yield from read_past(names[start : start + _BATCH])


class _Totals:
    """Adds outcomes up."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(
            ("runs", "runs_stopped", "runs_refused", "phases_audited", "audits_spared", "gates_stricter",
             "gates_laxer", "patches_refused", "tokens", "tokens_kept"), 0
        )  # fmt: skip
        self.caps: dict[str, dict[str, Any]] = {}

    def add(self, past: PastRun, outcome: Outcome) -> None:
        """Count one run."""
        counts = self.counts
        counts["runs"] += 1
        counts["runs_stopped"] += bool(outcome.stops)
        counts["runs_refused"] += outcome.refused is not None
        counts["phases_audited"] += len(outcome.audits_added)
        counts["audits_spared"] += len(outcome.audits_spared)
        counts["gates_stricter"] += len(outcome.gates_stricter)
        counts["gates_laxer"] += len(outcome.gates_laxer)
        counts["patches_refused"] += len(outcome.patches_refused)
        counts["tokens"] += past.tokens
        counts["tokens_kept"] += outcome.tokens_kept
        for cap in dict.fromkeys(stop.cap for stop in outcome.stops):
            first = next(stop for stop in outcome.stops if stop.cap == cap)
            row = self.caps.setdefault(
                cap, {"cap": cap, "runs": 0, "first_run": past.run_id, "first_place": first.place}
            )
            row["runs"] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the counts, the most frequent cap first."""
        return {
            **self.counts,
            "caps": sorted(self.caps.values(), key=lambda row: (-row["runs"], row["cap"])),
        }


def _row(past: PastRun, outcome: Outcome, before: Outcome | None) -> dict[str, Any]:
    return {
        "run_id": past.run_id,
        "state": past.state,
        "tokens": past.tokens,
        **outcome.to_json(),
        "in_force": None if before is None or before == outcome else before.to_json(),
    }


def lines(answer: Mapping[str, Any]) -> Iterable[str]:
    """Yield a replay as lines for people."""
    yield from answer["summary"]
    for run in _notable(answer["runs"]):
        yield f"{run['run_id']} ({run['state']}):"
        if run["refused"]:
            yield f"  refused at the start: {run['refused']['detail']}"
        for stop in run["stops"]:
            yield f"  stopped at {stop['place']}: {stop['cap']}, {stop['detail']}"
        for name, words in (
            ("audits_added", "would need an audit"),
            ("audits_spared", "would need no audit"),
            ("gates_stricter", "would have a stricter gate"),
            ("gates_laxer", "would have a laxer gate"),
            ("patches_refused", "would have a patch refused as too large"),
        ):
            if run[name]:
                yield f"  {words}: {', '.join(run[name])}"
    yield "What the past can't tell:"
    yield from (f"  {text}" for text in answer["not_known"])


def _notable(runs: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the runs of which there is something to tell."""
    names = (
        "refused", "stops", "audits_added", "audits_spared", "gates_stricter", "gates_laxer", "patches_refused",
    )  # fmt: skip
    return (run for run in runs if any(run[name] for name in names))
