"""Open http and https addresses, and no other kind."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage, HTTPResponse
from typing import IO
from urllib.error import URLError
from urllib.parse import urlsplit


def open_url(
    request: urllib.request.Request,
    timeout: float,
    allowed: Callable[[str], bool] | None = None,
) -> HTTPResponse:
    """Return the answer to a request over http or https; the proxies of the environment are
    honoured.

    A redirect is followed to http and https alone, and from https to https alone, so that a server
    cannot choose a less safe way than the user did.

    Args:
        request: what is asked for.
        timeout: seconds without an answer.
        allowed: says of each address that a redirect leads to whether it may be asked.

    Raises:
        OSError, ValueError, http.client.HTTPException: as ``urllib.request.urlopen``.
    """
    if urlsplit(request.full_url).scheme.lower() not in ("http", "https"):
        raise ValueError("only http and https addresses are asked")
    answer: HTTPResponse = urllib.request.build_opener(_Redirects(allowed)).open(
        request, timeout=timeout
    )
    return answer


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, allowed: Callable[[str], bool] | None = None) -> None:
        self._allowed = allowed

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = (urlsplit(url).scheme.lower() for url in (req.full_url, newurl))
        if after != "https" and not (before == after == "http"):
            raise URLError(f"the server redirects from {before} to {after or 'nothing'}")
        if self._allowed is not None and not self._allowed(newurl):
            raise URLError("the server redirects to an address that is not allowed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
