"""What the user set for the way to the API, checked before it is used."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from airflow_provider_cloudlock.exceptions import CloudlockConfigError


def usable_bundle(path: str, whose: str = "The connection's ca_bundle") -> str:
    """Return the path of a CA bundle.

    :param whose: what names it, for the error.
    :raises CloudlockConfigError: when it cannot be read as one.
    """
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise CloudlockConfigError(
            f"{whose} {path!r} cannot be used on this worker: {error}. Give the path of a PEM file with certificates."
        ) from None
    return path


def check_proxy(proxy: str, whose: str = "The connection's proxy") -> None:
    """Look whether something is the URL of a proxy.

    :param whose: what names it, for the error.
    :raises CloudlockConfigError: when it is not.
    """
    try:
        url = urlsplit(proxy)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and proxy.isascii()
    except ValueError:
        usable = False
    if not usable or not proxy.isprintable() or " " in proxy:
        raise CloudlockConfigError(
            f"{whose} is not usable. Give http://host:port, with user:password@ before the host if the "
            "proxy asks for them; special characters in them percent-encoded."
        )


def usable_token(token: str) -> str:
    """Return an access token without the white space around it.

    :raises CloudlockConfigError: when it cannot be one.
    """
    token = token.strip()
    if not token:
        raise CloudlockConfigError(
            "The connection has no access token. Generate one in Cloudlock (Settings > Authentication & API) and put "
            "it into the password."
        )
    if "://" in token:
        raise CloudlockConfigError(
            "The connection's password holds an address. Put the access token there, and the API server's address "
            "into the host."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CloudlockConfigError(
            "The access token in the connection's password holds spaces or characters that no token has. Put the "
            "token alone there, without 'Bearer' and without line breaks."
        )
    return token
