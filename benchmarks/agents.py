"""Pull builders over HTTP: threads that claim a phase, answer with a one-line patch, and claim again."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WAIT_S = 5
LIMIT_S = 60


def patch_for(name: str) -> str:
    """Return a git-format patch that adds one file of one line."""
    path = f"notes/{name}.txt"
    return (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
        f"@@ -0,0 +1 @@\n+work of {name}\n"
    )


class Caller:
    """One kept connection to the API with one token."""

    def __init__(self, address: str, token: str) -> None:
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """POST JSON; return the status and what came back (None for an empty body)."""
        self._connection.request("POST", path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None

    def get(self, path: str) -> tuple[int, Any]:
        """GET; return the status and the JSON that came back."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


def work(caller: Caller, project_id: str, stop: threading.Event) -> None:
    """Build whatever the project's runs have to build, until told to stop."""
    while not stop.is_set():
        status, claim = caller.post("/claim", {"project_id": project_id, "kind": "build", "wait_s": WAIT_S})
        if status == 204:
            continue
        if status != 201:
            raise RuntimeError(f"claim answered {status}: {claim}")
        run_id, phase_id = claim["run_id"], claim["phase_id"]
        body = {
            "phase_id": phase_id,
            "run_id": run_id,
            "lease_id": claim["lease_id"],
            "fence": claim["fence"],
            "status": "success",
            "patch_content": patch_for(phase_id),
            "tokens_used": 1,
        }
        status, answer = caller.post(f"/runs/{run_id}/phases/{phase_id}/builder_result", body)
        if status != 200:
            raise RuntimeError(f"builder_result answered {status}: {answer}")


@contextmanager
def building(address: str, token: str, project_id: str, count: int) -> Iterator[None]:
    """Have `count` builders at work during the block."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=work, args=(Caller(address, token), project_id, stop), daemon=True)
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT_S + LIMIT_S)
