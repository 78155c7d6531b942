"""What the demo says at its end."""

from __future__ import annotations

import shlex

from django.conf import settings
from rich.console import Console
from rich.text import Text

from autopack_site.demo.facts import Facts
from strategy.limits import written


def show(console: Console, facts: Facts, *, took_s: float, log: str) -> None:
    """Print commits, gates, issues, tokens, the verdict, and what to type next."""
    run = facts.run
    say = _Lines(console)
    say.heading(f"{len(facts.commits)} commits on {run.branch}")
    for commit in facts.commits:
        say.line(f"  {commit}")
    say.heading("Gates, audits, issues")
    say.line(f"  gates    {counted(facts.gates)}, sandbox: {facts.sandbox or 'none'}")
    say.line(f"  audits   {counted(facts.verdicts)}")
    say.line(f"  issues   {len(facts.issues)}")
    for issue in facts.issues:
        say.line(f"           {issue}")
    say.line(f"  tokens   {run.tokens_used:,} of {written(run.token_cap)}: these builders ask no model")
    say.line(
        f"  a clone of the branch passes {facts.clone_tests - facts.clone_failures} of {facts.clone_tests} tests"
    )
    say.line(f"  promotable to {run.project.default_branch}: {'yes' if facts.is_promotable else 'no'}")
    say.heading("What to type next")
    repository = shlex.quote(str(facts.repository))
    branch = shlex.quote(run.branch)
    state = shlex.quote(str(settings.STATE_DIR))
    say.line(f"  git -C {repository} log --stat {branch}")
    say.line(f"  git -C {repository} diff {run.project.default_branch}..{branch}")
    say.line(f"  ls -R {shlex.quote(str(settings.RUNS_DIR / run.run_id))}")
    say.line(f"  AUTOPACK_STATE_DIR={state} AUTOPACK_RUNS_DIR={shlex.quote(str(settings.RUNS_DIR))} make up")
    say.line(
        "      and then the admin shows this run, its diffs and gate logs, to the user and password above"
    )
    say.line(f"  less {shlex.quote(log)}      what the workers said")
    say.line(f"\n{run.state} in {took_s:.0f} s")


def counted(words: dict[str, int]) -> str:
    """Return counts as words: `12 green, 1 red`."""
    return ", ".join(f"{count} {word}" for word, count in sorted(words.items())) or "none"


class _Lines:
    """Prints plain text: paths and subjects are no markup, and are never broken or shortened."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"), soft_wrap=True)

    def line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True, highlight=False)
