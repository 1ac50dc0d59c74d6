"""The plainest client there is: the standard library's, which forgives nothing."""

from __future__ import annotations

import http.client
import json
from email.message import Message
from typing import Any, Self

from .records import ids
from .tenant import TOKEN, Tenant


class Client:
    """One kept-alive connection to a tenant."""

    def __init__(self, tenant: Tenant, *, timeout: float = 5.0, token: str = TOKEN) -> None:
        self._connection = http.client.HTTPConnection(tenant.url.removeprefix("http://"), timeout=timeout)
        self._path = tenant.path
        self._token = token

    def __enter__(self) -> Self:
        """Connect with the first request."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._connection.close()

    def get(self, **params: Any) -> tuple[int, Message, bytes]:
        """Ask once: status, headers, body."""
        query = "&".join(f"{name}={value}" for name, value in params.items())
        self._connection.request("GET", f"{self._path}?{query}", headers={"Authorization": f"Bearer {self._token}"})
        response = self._connection.getresponse()
        return response.status, response.headers, response.read()

    def page(self, **params: Any) -> Any:
        """Ask for what must be JSON under 200."""
        status, _, body = self.get(**params)
        assert status == 200, body
        return json.loads(body)

    def walk(self, limit: int = 100) -> list[str]:
        """Return all ids, read the way a trusting client does."""
        got: list[str] = []
        while items := self.page(limit=limit, offset=len(got), order="created_at")["items"]:
            got += ids(items)
        return got


def ask(tenant: Tenant, **params: Any) -> Any:
    """Ask for one page on a connection of its own."""
    with Client(tenant) as client:
        return client.page(**params)
