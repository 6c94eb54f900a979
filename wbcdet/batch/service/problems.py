"""Why a request is refused, as a JSON object of RFC 9457."""

from __future__ import annotations

import json
from http import HTTPStatus

from wbcdet.utils.errors import WbcdetError

MEDIA_TYPE = "application/problem+json"


class Problem(WbcdetError):
    """A request is refused; the message is one line and says what to do.

    Args:
        status: of HTTP.
        detail: the message.
        kind: short name of the kind of problem, stable for programs.
        retry_s: seconds after which it may be asked again, where that helps.
    """

    def __init__(self, status: int, kind: str, detail: str, retry_s: int | None = None) -> None:
        self.detail = " ".join(detail.split())
        super().__init__(self.detail)
        self.status, self.kind, self.retry_s = status, kind, retry_s

    def body(self) -> bytes:
        """Return the object, in one line."""
        document = {
            "type": f"urn:wbcdet:problem:{self.kind}",
            "title": _title(self.status),
            "status": self.status,
            "detail": self.detail.encode(errors="replace").decode(),
        }
        return json.dumps(document, ensure_ascii=False).encode() + b"\n"

    def headers(self) -> dict[str, str]:
        """Return the headers that it comes with."""
        headers = {"content-type": MEDIA_TYPE}
        if self.retry_s is not None:
            headers["retry-after"] = str(self.retry_s)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = 'Bearer realm="wbcdet"'
        return headers


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
