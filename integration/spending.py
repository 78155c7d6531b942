"""A command agent's spending while it runs: what it writes is read as it grows, and it is told what is left.

The agent's file is hostile: it is opened under its folder's descriptor, never through a link, only as a regular
file, and read in bounded steps.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import structlog

from integration.sandbox.collect import FILE, FOLDER
from integration.sandbox.spec import Wish
from integration.usage import Stream
from runs import services
from runs.figures import Figures, named
from runs.meters import NOTICE_PERCENT, Budget
from runs.services import Claim, Heartbeat

log = structlog.get_logger(__name__)
USAGE = "usage.jsonl"
BUDGET = "budget.json"
STEP_BYTES = 1024 * 1024
MAX_STREAM_BYTES = 256 * 1024 * 1024


class Growing:
    """A file that somebody else writes: what is new in it, at each look.

    One that was replaced or cut starts a new stream; what the old one told is the least that is known.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._stream = Stream()
        self._floor = Figures()
        self._inode = 0
        self._offset = 0
        self._read = 0

    @property
    def listens(self) -> bool:
        """Tell whether the agent takes signals."""
        return self._stream.listens

    def look(self) -> Figures:
        """Read what is new, one step at the most; return the figures so far."""
        self._step()
        return self._floor.grown(self._stream.figures())[0]

    def finish(self) -> Figures:
        """Read to the end, when nobody writes any more."""
        while self._step():
            pass
        return self._floor.grown(self._stream.finish())[0]

    def _step(self) -> bool:
        """Take the next bytes; tell whether there may be more."""
        try:
            folder = os.open(self._folder, FOLDER)
        except OSError:
            return False
        try:
            handle = os.open(self._name, FILE, dir_fd=folder)
        except OSError:
            return False
        finally:
            os.close(folder)
        try:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                return False
            if about.st_ino != self._inode or about.st_size < self._offset:
                if self._inode:
                    self._floor, _lower = self._floor.grown(self._stream.finish())
                    self._stream = Stream()
                self._inode, self._offset = about.st_ino, 0
            if self._read >= MAX_STREAM_BYTES:
                return False
            data = os.pread(handle, STEP_BYTES, self._offset)
        except OSError:
            return False
        finally:
            os.close(handle)
        self._offset += len(data)
        self._read += len(data)
        self._stream.feed(data)
        return len(data) == STEP_BYTES


class Spending:
    """The link between one command agent and its budget: its file in, the budget's file and signals out.

    `beat` is called by the renewal's thread, `wish` by the one that runs the command.
    """

    def __init__(self, claim: Claim, *, papers: Path, out: Path, agent: str) -> None:
        self._claim = claim
        self._papers = papers
        self._agent = agent
        self._file = Growing(out, USAGE)
        self._lock = threading.Lock()
        self._sent = Figures()
        self._known = Figures()
        self._budget = claim.budget
        self.usage_path = out / USAGE
        self.budget_path = papers / BUDGET

    def start(self) -> None:
        """Write the budget for the first time."""
        self._tell(self._budget)

    def has_news(self) -> bool:
        """Read what the agent has written; tell whether it says more than was reported."""
        with self._lock:
            self._known = named(self._file.look(), agent=self._agent)
            return self._known.total is not None and self._known != self._sent

    def beat(self) -> Heartbeat:
        """Renew the lease with what is known, and renew the budget's file. Raises Conflict."""
        with self._lock:
            known = self._known
        beat = services.heartbeat(
            self._claim.lease_id, fence=self._claim.fence, figures=None if known.total is None else known
        )
        self._sent = known
        if beat.budget != self._budget:
            self._budget = beat.budget
            self._tell(beat.budget)
        return beat

    def wish(self) -> Wish:
        """Return what the command is to be asked now."""
        if self._budget.state == "spent":
            return "end"
        return "tell" if self._budget.state == "nearly_spent" and self._file.listens else ""

    def finish(self) -> Figures:
        """Return the last figures, when the command and all it started are dead."""
        with self._lock:
            self._known = named(self._file.finish(), agent=self._agent)
            return self._known

    def _tell(self, budget: Budget) -> None:
        text = json.dumps(as_json(budget), sort_keys=True) + "\n"
        fresh = self._papers / f".{BUDGET}"
        try:
            fresh.write_text(text, encoding="utf-8")
            fresh.chmod(0o644)
            fresh.replace(self.budget_path)
        except OSError as error:  # a full disk must not cost the lease
            log.warning("agent.budget_not_told", error=type(error).__name__)


def as_json(budget: Budget) -> dict[str, object]:
    """Return what an agent reads of its budget."""
    return {
        "spent": budget.spent,
        "cap": budget.cap,
        "state": budget.state,
        "limit": budget.limit,
        "stop_by": budget.stop_by.isoformat() if budget.stop_by else None,
        "turns": budget.turns,
        "turn_cap": budget.turn_cap,
        "cost_usd": budget.cost_usd,
        "cost_cap_usd": budget.cost_cap_usd,
        "notice_percent": NOTICE_PERCENT,
    }
