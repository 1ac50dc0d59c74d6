"""Fields of a connection: validated before the first request."""

from __future__ import annotations

import ipaddress
import re
import ssl
from urllib.parse import urlsplit

from airflow_provider_cloudlock.exceptions import CloudlockConfigError

_API = "/api/v2"
_PLAIN = re.compile(r"[^\s\\\x00-\x1f\x7f]+")


def base_url(host: str | None, port: int | None = None) -> str:
    """Return the base URL of the API.

    :param host: ``https://tenant.example.com``, with or without ``/api/v2``; without a scheme it is https.
    :param port: port, if the host does not contain one.
    :return: the base URL, ending in ``/api/v2``.
    :raises CloudlockConfigError: if it is missing, is not a plain http(s) address, or is http to another machine.
    """
    text = (host or "").strip()
    if not text:
        raise CloudlockConfigError(
            "The connection has no host. Put the API server's address there, such as https://tenant.example.com; "
            "Cloudlock support names yours."
        )
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        name, own_port = url.hostname or "", url.port
    except ValueError:
        raise _refused("it is no address, or its port is none") from None
    path = url.path.rstrip("/")
    faults = {
        "it holds spaces, backslashes or control characters": not _PLAIN.fullmatch(text),
        f"{url.scheme}:// is not http(s)": url.scheme not in ("http", "https"),
        "it names no host": not name,
        "it is a single word, as a token is: that goes into the password field": (
            "." not in name and "://" not in text and ":" not in text and not _is_loopback(name)
        ),
        "it holds a user or a password: the token goes into the password field": "@" in url.netloc,
        "it holds a query or a fragment": "?" in text or "#" in text,
        "its path is not plain": "%" in path or not {"", ".", ".."}.isdisjoint(path.split("/")[1:]),
        "http would send the token in clear: use https (http is for loopback addresses only)": (
            url.scheme == "http" and not _is_loopback(name)
        ),
    }
    fault = next((why for why, found in faults.items() if found), None)
    if fault is not None:
        raise _refused(fault)
    location = f"[{name}]" if ":" in name else name
    if own_port or port:
        location += f":{own_port or port}"
    return f"{url.scheme}://{location}{path if path.endswith(_API) else path + _API}"


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refused(why: str) -> CloudlockConfigError:
    # The address is not repeated: somebody may have pasted the token into it.
    return CloudlockConfigError(
        f"The connection's host is not usable: {why}. Give the API server's address, such as "
        "https://tenant.example.com, with or without /api/v2."
    )


def usable_bundle(path: str, whose: str = "The connection's ca_bundle") -> str:
    """Return the path of a CA bundle.

    :param whose: setting that contains it, for the error.
    :raises CloudlockConfigError: if the file cannot be read, or contains no certificates.
    """
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise CloudlockConfigError(
            f"{whose} {path!r} cannot be used on this worker: {error}. Give the path of a PEM file with certificates."
        ) from None
    return path


def check_proxy(proxy: str, whose: str = "The connection's proxy") -> None:
    """Check that a text is the URL of a proxy.

    :param whose: setting that contains it, for the error.
    :raises CloudlockConfigError: if it is not.
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

    :raises CloudlockConfigError: if it cannot be one.
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


def whole_number(name: str, value: object, least: int, most: int | None = None) -> int | None:
    """Return a whole number within bounds, None for None.

    :raises CloudlockConfigError: if it is anything else.
    """
    if value is None:
        return None
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise CloudlockConfigError(f"{name}={value!r} is not a whole number {bounds}.")
    return value


def positive_number(name: str, value: object) -> float | None:
    """Return a positive number, which may be written as a text; None for None.

    :raises CloudlockConfigError: if it is anything else.
    """
    number = as_number(value)
    if number is None:
        return None
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number < float("inf"):
        raise CloudlockConfigError(f"The connection's {name}={value!r} is not a positive number.")
    return float(number)


def as_number(value: object) -> object:
    """Convert a text to a number, as a connection URI has only texts; return any other value unchanged."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def as_text(name: str, value: object) -> str | None:
    """Return a text, None for None.

    :raises CloudlockConfigError: if it is anything else.
    """
    if value is not None and not isinstance(value, str):
        raise CloudlockConfigError(f"The connection's {name} must be a text.")
    return value
