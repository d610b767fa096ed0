"""What a route gets: the control plane and who is calling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from controlplane.api.plane import Plane
from controlplane.api.tokens import Scope, TokenFile
from controlplane.domain.errors import ConfigurationError

LOCAL_ACTOR = "local"
_ACTOR_MAX = 100

_Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="Made by `controlplane token create`")),
]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling. `token` is the name of the token, None where no tokens are in use; then `claimed` counts."""

    scope: Scope
    token: str | None
    claimed: str = LOCAL_ACTOR

    def actor(self, said: str | None) -> str:
        """The name that is written down; `said` is the one in the request's body."""
        return self.token or said or self.claimed


async def plane(request: Request) -> Plane:
    """The running control plane."""
    found: Plane = request.app.state.plane
    return found


async def caller(request: Request, credentials: _Credentials) -> Caller:
    """Who is calling, by token. Answers 401 to a missing, unknown or outdated one."""
    tokens: TokenFile | None = request.app.state.tokens
    if tokens is None:
        claimed = request.headers.get("x-actor", LOCAL_ACTOR)
        if not claimed.strip() or not claimed.isprintable() or len(claimed) > _ACTOR_MAX:
            raise HTTPException(422, f"X-Actor: 1 to {_ACTOR_MAX} printable characters are allowed")
        return Caller(Scope.ADMIN, None, claimed)
    if credentials is None:
        raise HTTPException(
            401, "a bearer token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
    token = tokens.find(credentials.credentials)
    if token is None:
        raise HTTPException(
            401, "the token is not known or ran out", {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        )
    return Caller(token.scope, token.name)


async def still_taken(request: Request) -> bool:
    """Whether the token that a long answer began with is still one, so that it goes no further than it."""
    tokens: TokenFile | None = request.app.state.tokens
    if tokens is None:
        return True
    try:
        return tokens.find(request.headers["authorization"].partition(" ")[2].strip()) is not None
    except ConfigurationError:
        return False


class _Needs:
    """A dependency: the caller, if the scope suffices (else 403)."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(self, found: Annotated[Caller, Depends(caller)]) -> Caller:
        if not found.scope.allows(self._scope):
            raise HTTPException(
                403, f"scope {self._scope.value} is needed; token {found.token} has {found.scope.value}"
            )
        return found


ThePlane = Annotated[Plane, Depends(plane)]
Viewer = Annotated[Caller, Depends(_Needs(Scope.VIEWER))]
Operator = Annotated[Caller, Depends(_Needs(Scope.OPERATOR))]
Admin = Annotated[Caller, Depends(_Needs(Scope.ADMIN))]
