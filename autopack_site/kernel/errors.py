"""The root of Autopack's typed errors. A domain error knows its code, HTTP status and extras."""

from __future__ import annotations

from typing import Any, ClassVar


class AutopackError(Exception):
    """A refusal or failure with a stable code.

    `detail` is for people; `extras` are fields added to the problem document. `retryable` says whether the
    same call may succeed later without a change; it belongs to the class, never to a message. `retry_after_s`
    says when, in seconds.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request could not be carried out"
    retryable: ClassVar[bool] = False
    retry_after_s: int = 1

    def __init__(self, detail: str | None = None, **extras: Any) -> None:
        self.detail = detail or self.title
        self.extras = extras
        super().__init__(self.detail)


class NotFound(AutopackError):
    """The thing named does not exist, or the caller may not know that it does."""

    code, status = "not-found", 404
    title = "Not found"


class Conflict(AutopackError):
    """The call can't be reconciled with the present state."""

    code, status = "conflict", 409
    title = "The present state does not allow this"


class IllegalTransition(Conflict):
    """No move of the machine leads from this state by this event."""

    code = "illegal-transition"
    title = "Illegal move"

    def __init__(self, state: str, event: str, **extras: Any) -> None:
        super().__init__(f"No move from {state} by {event}", state=state, event=event, **extras)
        self.state = state
        self.event = event


class Invalid(AutopackError):
    """The input breaks a rule. `problems` are `{type, loc, msg}` rows (API.md, 422 shape)."""

    code, status = "invalid", 422
    title = "The input is not valid"

    def __init__(self, problems: list[dict[str, Any]] | str, **extras: Any) -> None:
        rows = [problem("value_error", [], problems)] if isinstance(problems, str) else problems
        super().__init__("; ".join(str(row["msg"]) for row in rows[:5]), **extras)
        self.problems = rows


class PolicyViolation(AutopackError):
    """Policy forbids it, whoever asks."""

    code, status = "policy-violation", 403
    title = "Policy forbids this"


def problem(kind: str, loc: list[str | int], msg: str) -> dict[str, Any]:
    """Return one row of a 422 answer: what kind of fault, where, and what was expected."""
    return {"type": kind, "loc": loc, "msg": msg}
