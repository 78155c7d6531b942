"""The base of every agent-facing view: token, role, project scope, well-formed ids, bounded bodies."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, cast

import structlog
from django.http import HttpRequest, HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from autopack_site.kernel.auth import Role
from autopack_site.kernel.errors import AutopackError, Invalid, problem
from autopack_site.kernel.ids import ID_RULE, is_valid_id
from autopack_site.kernel.problem import validation_rows
from runs import rows
from runs.api import repeats
from runs.api.misspelt import misspelt
from runs.api.negotiation import METHODS
from runs.api.parsers import BoundedJSONParser, query_values
from runs.errors import LeaseNotFound, PhaseNotFound, RunNotFound
from runs.idempotency import Turn
from runs.models import Lease, Phase, Run
from runs.querysets import PhaseQuerySet, RunQuerySet
from runs.tokens import Caller
from strategy.errors import ProjectNotFound

STARTER = "starter"
ANY_ROLE: tuple[str, ...] = (*Role, STARTER)
IN_RUN = "Phase {phase_id} not found in run {run_id}"
_LOGGED = ("run_id", "phase_id")
_PATH_IDS = ("run_id", "phase_id", "lease_id", "tier_id", "project_id", "attempt_id")


@cache
def _shared_checker(serializer: type[Serializer[Any]]) -> Serializer[Any]:
    """Return one instance for all threads: `run_validation` keeps nothing in it."""
    return serializer()


class RoleMissing(AutopackError):
    """The token does not carry a role that may do this."""

    code, status = "role-missing", 403
    title = "The token's roles do not allow this"


class LengthMissing(AutopackError):
    """The body came in chunks. The framework reads as many bytes as were announced: none."""

    code, status = "length-required", 411
    title = "The body has no length"


class AgentView(APIView):
    """A view for agents and operators. `allowed_roles` names who may call it; an operator always may.

    Answers 401 without a valid token, 403 without the role, 422 for a malformed id in the path. What lies
    in another project than the token's is answered in the words of what does not exist. A POST that comes again
    with its `Idempotency-Key` is answered as before (runs.api.repeats).
    """

    http_method_names = METHODS
    parser_classes = [BoundedJSONParser]
    permission_classes = [IsAuthenticated]
    allowed_roles: ClassVar[tuple[str, ...]] = ()
    phase_missing: ClassVar[str] = "Phase {phase_id} not found"  # the contract's words differ by route
    turn: Turn | None = None

    def needed_roles(self) -> tuple[str, ...]:
        """Return the roles that this request needs one of; a view may tell methods apart."""
        return self.allowed_roles

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse who may not call and what can't be an id, before anything else is looked at."""
        super().initial(request, *args, **kwargs)
        if "CONTENT_LENGTH" not in request.META and request.META.get("HTTP_TRANSFER_ENCODING"):
            raise LengthMissing("Send the body whole, with Content-Length, and not in chunks")
        self.require_role(*self.needed_roles())
        for name in _PATH_IDS:
            if name in kwargs and not is_valid_id(kwargs[name]):
                raise Invalid([problem("value_error", ["path", name], f"An id is {ID_RULE}")])
        structlog.contextvars.bind_contextvars(**{name: kwargs[name] for name in _LOGGED if name in kwargs})
        self.turn = repeats.turn_of(self, request)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer, and keep the answer for the repeats of a request that may have some."""
        response = super().dispatch(request, *args, **kwargs)
        if self.turn is not None:
            repeats.finish(self.turn, response)
        return response

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]  # kept bytes
        """Turn a refusal into its answer; a repeat's is the one that was given before."""
        return exc.response if isinstance(exc, repeats.Repeated) else super().handle_exception(exc)

    @property
    def caller(self) -> Caller:
        """The authenticated caller."""
        return cast(Caller, self.request.user)

    def require_role(self, *roles: str) -> None:
        """Raise RoleMissing unless the caller holds one of the roles."""
        if not self.caller.may(*roles):
            names = " or ".join(dict.fromkeys([*map(str, roles), str(Role.OPERATOR)]))
            raise RoleMissing(f"This needs a token with the role {names}")

    def body(self, serializer: type[Serializer[Any]], **extra: Any) -> dict[str, Any]:
        """Return the body checked by an input serializer; an empty body is an empty object.

        `extra` replaces members of the body. Raises Invalid for a body that is not an object, or has a member
        misspelt.
        """
        data = self.request.data
        if not isinstance(data, dict):
            raise Invalid([problem("dict_type", ["body"], "The body must be a JSON object")])
        whole = {**data, **extra}
        if wrong := misspelt(serializer, whole):
            raise Invalid(wrong)
        return cast(dict[str, Any], self._checker(serializer).run_validation(whole))

    def query(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """Return the query parameters checked by an input serializer. Raises Invalid with loc `query`."""
        try:
            return cast(dict[str, Any], self._checker(serializer).run_validation(query_values(self.request)))
        except ValidationError as error:
            raise Invalid(validation_rows(error.detail, ["query"])) from error

    def _checker(self, serializer: type[Serializer[Any]]) -> Serializer[Any]:
        """Return an instance to check with: one a process, but for a serializer that looks at the view."""
        looks_at_view = getattr(serializer, "looks_at_view", False)
        return serializer(context={"view": self}) if looks_at_view else _shared_checker(serializer)

    def visible_runs(self) -> RunQuerySet:
        """Return the runs that the caller may know of."""
        scope = self.caller.project_scope
        runs = Run.objects.all()
        return runs if scope is None else runs.filter(project__project_id=scope)

    def visible_phases(self) -> PhaseQuerySet:
        """Return the phases that the caller may know of."""
        scope = self.caller.project_scope
        phases = Phase.objects.all()
        return phases if scope is None else phases.filter(run__project__project_id=scope)

    def require_run(self, run_id: str, missing: AutopackError | None = None) -> None:
        """Raise RunNotFound, or `missing`, unless the run is there and the caller may know of it."""
        if not self.visible_runs().filter(pk=run_id).exists():
            raise missing or RunNotFound(f"Run {run_id} not found")

    def require_phase(self, run_id: str, phase_id: str) -> Phase:
        """Return the phase with its run and tier; raise PhaseNotFound, also when the run is not there."""
        phase = rows.phase_with_run.first(run_id, phase_id)
        if phase is None or self.caller.project_scope not in (None, phase.run.project.project_id):
            raise PhaseNotFound(self.phase_missing.format(run_id=run_id, phase_id=phase_id))
        return phase

    def require_lease(self, lease_id: str) -> Lease:
        """Return the lease with its attempt if the caller itself holds or held it; raise LeaseNotFound."""
        lease = rows.lease_by_id.first(lease_id)
        if lease is None or lease.owner != self.caller.name:
            raise LeaseNotFound(f"Lease {lease_id} not found")
        if self.caller.project_scope is not None:
            self.require_run(lease.run_id, LeaseNotFound(f"Lease {lease_id} not found"))
        return lease

    def project_id(self, asked: str | None) -> str | None:
        """Return the project that a request means: the one named, else the token's own, else None.

        None stands for the default project. Raises ProjectNotFound for another project than the token's.
        """
        scope = self.caller.project_scope
        if asked is not None and scope not in (None, asked):
            raise ProjectNotFound(f"Project {asked} not found")
        return asked or scope
