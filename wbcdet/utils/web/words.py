"""Answer a page with its words."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from wbcdet.utils.words import negotiated, script


def words_script(request: Request) -> Response:
    """Return the script by which a page translates itself into its reader's language."""
    language = negotiated(request.headers.get("accept-language", ""))
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Language"}
    return Response(script(language), media_type="text/javascript; charset=utf-8", headers=headers)
