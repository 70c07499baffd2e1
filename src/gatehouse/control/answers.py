"""How the management API answers: JSON from frozen structs, and one shape for every error.

Rules: an error body is `{detail, code, retry_after, errors}`; `code` is of the closed list in `errors`; validation is
400 and names each field; bad input is never a 500. What the caller sent is not repeated, beyond the names of fields.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gatehouse import errors
from gatehouse.control.caller import SCOPE, Caller
from gatehouse.control.publishing import NotPublishedError
from gatehouse.errors import GatehouseError, Kind
from gatehouse.store.directory.errors import DirectoryError, NotThere
from gatehouse.store.engine import StoreError, StoreRowError
from gatehouse.store.present import CursorError
from gatehouse.store.tally import TooManyError

RETRY_SECONDS: Final = 5
NOTHING_HERE: Final = "there is nothing at this path; /api/v1/openapi.json lists what there is"

_PROBLEMS: Final = 50
"""Fields that an answer names: whoever sends 300,000 that do not exist gets no answer of 30 MB."""
_NAME: Final = 64
"""Characters of a field's name that are repeated."""
Answers = dict[tuple[str, str], tuple[int, Any]]
"""What a route, (method, path), answers with when all is well: its status, and what it holds, if anything.

Each module of routes says it of its own; the API's description is made from it."""
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    field: str
    message: str


class ErrorBody(msgspec.Struct, frozen=True):
    """Every error of the management API."""

    detail: str
    code: str
    retry_after: int | None
    """Seconds."""
    errors: list[FieldError]


class InputError(Exception):
    """What the caller sent is wrong in these fields."""

    def __init__(self, *problems: FieldError) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = list(problems)


def answer(value: msgspec.Struct, status: int = 200) -> Response:
    """A struct as JSON that nobody may cache."""
    return Response(_encode(value), status, {"cache-control": "no-store"}, "application/json")


def answer_list(values: Sequence[msgspec.Struct]) -> Response:
    """A bare array, for contracts that want one."""
    return Response(_encode(values), 200, {"cache-control": "no-store"}, "application/json")


def done() -> Response:
    """It is done, and there is nothing else to say."""
    return Response(status_code=204, headers={"cache-control": "no-store"})


def refuse(
    kind: Kind, detail: str, *, retry_after: int | None = None, problems: list[FieldError] | None = None
) -> Response:
    """An error in the API's shape."""
    response = answer(ErrorBody(detail, kind.code, retry_after, problems or []), kind.status)
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response


def install(app: FastAPI) -> None:
    """Give every error of `app` the API's shape."""
    handlers: dict[type[Exception], Callable[[Request, Exception], Response]] = {
        InputError: _input,
        RequestValidationError: _validation,
        GatehouseError: _gatehouse,
        DirectoryError: _directory,
        NotPublishedError: _not_published,
        CursorError: _cursor,
        StoreRowError: _row,
        StoreError: _store,
        TooManyError: _too_many,
        HTTPException: _http,
        Exception: _bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _input(_request: Request, error: Exception) -> Response:
    problems = error.problems if isinstance(error, InputError) else []
    return refuse(errors.BAD_REQUEST, str(error), problems=problems)


def _validation(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [FieldError(_field(each["loc"]), _message(each)) for each in found[:_PROBLEMS]]
    if len(found) > _PROBLEMS:
        problems.append(FieldError(str(found[0]["loc"][0]), f"{len(found) - _PROBLEMS} more are wrong"))
    if found and tuple(found[0]["loc"]) == ("body",) and not _is_json(request):
        problems = [FieldError("body", "is JSON, with `content-type: application/json`")]
    return _input(request, InputError(*problems))


def _is_json(request: Request) -> bool:
    """Whether the request says that its body is: else nobody reads it as that."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _field(place: tuple[str | int, ...]) -> str:
    """`("query", "status", 0)` is `status[0]`; `("body", "limits", "tokens")` is `limits.tokens`."""
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[1:])
    # Of broken JSON, the position.
    named = name.removeprefix(".") if not name.startswith("[") else ""
    return named[:_NAME] or str(place[0] if place else "query")


def _message(problem: dict[str, str]) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such parameter"
    if problem["type"] == "json_invalid":
        return "no JSON"
    if problem["type"] == "string_pattern_mismatch":
        return "holds a space or another character that may not be in it, or is not of the form it has"
    return problem["msg"].removeprefix("Value error, ")


def _gatehouse(_request: Request, error: Exception) -> Response:
    if not isinstance(error, GatehouseError):
        raise error
    return refuse(error.kind, error.detail, retry_after=error.retry_after)


def _directory(_request: Request, error: Exception) -> Response:
    # What names an id of the request's path is not found; whose body names what is not there, finds out beforehand.
    return refuse(errors.NOT_FOUND if isinstance(error, NotThere) else errors.BAD_REQUEST, str(error))


def _not_published(_request: Request, error: Exception) -> Response:
    return refuse(errors.OVERLOADED, str(error), retry_after=RETRY_SECONDS)


def _cursor(request: Request, error: Exception) -> Response:
    return _input(request, InputError(FieldError("cursor", str(error))))


def _row(_request: Request, _error: Exception) -> Response:
    return refuse(errors.BAD_REQUEST, "the store does not take a value of this request")


def _store(request: Request, error: Exception) -> Response:
    """Where the store is, and what is wrong with it, is for who has the machine: others are tenants' people."""
    _log.warning("%s", error)
    caller: Caller | None = request.scope.get(SCOPE)
    why = f": {error}" if caller is not None and caller.kind in ("operator", "local") else ""
    return refuse(errors.OVERLOADED, f"the store cannot be used now{why}", retry_after=RETRY_SECONDS)


def _too_many(_request: Request, error: Exception) -> Response:
    return refuse(errors.BAD_REQUEST, str(error))


def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return refuse(errors.METHOD_NOT_ALLOWED, f"{request.method} is not possible here")
    if status == 400:
        # What FastAPI cannot read as JSON for another reason than that it is none.
        unread = FieldError("body", "no JSON that can be read: nested too deeply, or a number with too many digits")
        return _input(request, InputError(unread))
    if status == 404:
        return refuse(errors.NOT_FOUND, NOTHING_HERE)
    return refuse(errors.BAD_REQUEST, str(getattr(error, "detail", error)))


def _bug(_request: Request, _error: Exception) -> Response:
    # Starlette raises it again once this is sent, and the server logs it.
    return refuse(errors.INTERNAL, "a bug in the gateway; its log has the details")
