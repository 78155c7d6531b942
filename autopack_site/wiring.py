"""Dotted paths only, no imports: which adapter stands behind each port, which task serves each topic.

`runs.ports` declares the ports; `issues` and `integration` implement them. A topic is the first column of
an outbox row; its task receives the row's reference as keyword arguments.
"""

from __future__ import annotations

PORTS = {
    "ledger": "issues.ledger.DatabaseLedger",
    "workspace": "integration.adapters.GitWorkspace",
    "gates": "integration.adapters.CeleryGates",
}

# topic -> (task, queue)
TOPICS = {
    "run.step": ("runs.tasks.step", "merge"),
    "agent.work": ("integration.tasks.run_agent", "agent"),
    "candidate.build": ("integration.tasks.build_candidate", "merge"),
    "candidate.merge": ("integration.tasks.merge_candidate", "merge"),
    "move.undo": ("integration.tasks.undo_move", "merge"),
    "gate.run": ("integration.tasks.run_gate", "gate"),
    "issues.sighting": ("issues.tasks.judge_sighting", "merge"),
    "issues.closing": ("issues.tasks.close_run", "sweep"),
    "issues.align": ("issues.tasks.align_runs", "merge"),
    "artefacts.write": ("integration.tasks.write_artefacts", "sweep"),
    "artefacts.project": ("integration.tasks.write_project_artefacts", "sweep"),
}
