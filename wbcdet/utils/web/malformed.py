"""Answer requests whose body or address is not as the page sends it."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

#: Letters of what was wrong that an answer repeats.
_MAX_LETTERS = 200


def answer_malformed(app: FastAPI) -> None:
    """Let an application say in a line what is wrong with a request, with status 422.

    The framework's own answer repeats all that was sent, and fails where that is no text or number
    that JSON has.
    """

    @app.exception_handler(RequestValidationError)
    def malformed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"error": f"{_text(where)}: {_text(first['msg'])}"}, 422)


def _text(value: str) -> str:
    """Return a text that any answer can hold."""
    return value[:_MAX_LETTERS].encode(errors="replace").decode()
