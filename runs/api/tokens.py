"""Bearer tokens: listed, made, revoked, by operators. One limited to a project knows of its own project's only."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from runs import tokens
from runs.api import examples_read as read
from runs.api.paging import keyset_page
from runs.api.schema import answers, shown
from runs.api.serializers.projects import PageIn
from runs.api.serializers.tokens import NewTokenOut, RevokeIn, TokenIn, TokenListOut, TokenOut
from runs.api.views import AgentView
from runs.errors import TokenNotFound
from runs.models import ApiToken
from runs.querysets import ApiTokenQuerySet
from strategy.services import project_for


class _TokenView(AgentView):
    allowed_roles = (Role.OPERATOR,)

    def visible_tokens(self) -> ApiTokenQuerySet:
        """Return the tokens that the caller may know of."""
        scope = self.caller.project_scope
        found = ApiToken.objects.select_related("agent", "project").defer("project__config")
        return found if scope is None else found.filter(project__project_id=scope)


class TokenListView(_TokenView):
    """`/tokens`."""

    @extend_schema(
        parameters=[PageIn],
        responses=answers({200: TokenListOut}),
        operation_id="list_tokens",
        examples=shown(answered=read.TOKENS),
    )
    def get(self, request: Request) -> Response:
        """List tokens, newest first, revoked ones too. Values are not kept anywhere."""
        query = self.query(PageIn)
        found, following = keyset_page(
            self.visible_tokens(), ("-created_at", "-id"), cursor=query.get("cursor"), limit=query["limit"]
        )
        return Response({"tokens": [TokenOut(token).data for token in found], "next_cursor": following})

    @extend_schema(
        request=TokenIn,
        responses=answers({201: NewTokenOut}, 404),
        operation_id="create_token",
        examples=shown(
            sent={"agent": "builder-2", "roles": ["builder"]}, answered=read.NEW_TOKEN, status=201
        ),
    )
    def post(self, request: Request) -> Response:
        """Make a token. Its value is in this answer and never shown again."""
        body = self.body(TokenIn)
        project_id = self.project_id(body.get("project_id"))
        value = tokens.create_token(
            body["agent"],
            roles=body["roles"],
            project=None if project_id is None else project_for(project_id),
            expires_at=body.get("expires_at"),
        )
        token = ApiToken.objects.select_related("agent", "project").get(digest=tokens.digest_of(value))
        answer = {**TokenOut(token).data, "token": value}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})


class RevokeTokenView(_TokenView):
    """`/tokens/{token_id}/revoke`."""

    @extend_schema(
        request=RevokeIn,
        responses=answers({200: TokenOut}, 404),
        operation_id="revoke_token",
        examples=shown(sent={}, answered=read.REVOKED_TOKEN),
    )
    def post(self, request: Request, token_id: int) -> Response:
        """Revoke a token at once; one that is revoked already stays as it is."""
        self.body(RevokeIn)
        token = self.visible_tokens().filter(pk=token_id).first()
        if token is None:
            raise TokenNotFound(f"Token {token_id} not found")
        tokens.revoke_token(token.pk)
        token.refresh_from_db(fields=["revoked_at"])
        return Response(TokenOut(token).data)
