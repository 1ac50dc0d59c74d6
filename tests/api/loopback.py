"""What stands between a worker and Cloudlock: TLS with certificates of our own, and a proxy that wants a password."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import Tenant
from tests.support.wire import read_head

Handler = Callable[[socket.socket], None]


def certificate(folder: Path, name: str = "127.0.0.1", *, days: int = 1) -> Path:
    """Write a key and a certificate signed by itself.

    :param name: whose it is, an address or a host's name.
    :param days: how long it will be valid from now; negative: how long it has not been.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    end = datetime.now(UTC) + timedelta(days=days)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.{days}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def tls(tenant: Tenant, pem: Path) -> Iterator[str]:
    """Serve a tenant behind TLS; give the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            _join(secured, tenant.url.removeprefix("http://"))

    with listening(handle) as address:
        yield f"https://{address}"


@contextmanager
def proxy(user: str, password: str, refusal: str = "") -> Iterator[tuple[str, list[str]]]:
    """Run a proxy for CONNECT; yield its address and the targets requested with the password.

    :param refusal: status line of the responses to those requests, if they are refused.
    """
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    served: list[str] = []

    def handle(connection: socket.socket) -> None:
        with suppress(OSError):
            head = read_head(connection.makefile("rb"))  # the client says no more until it is answered
            if head and head[0] == "CONNECT" and head[2].get("Proxy-Authorization") == wanted:
                target = head[1]
                served.append(target)
                if refusal:
                    connection.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
                    return
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _join(connection, target)
            else:
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    with listening(handle) as address:
        yield address, served


@contextmanager
def listening(handle: Handler) -> Iterator[str]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
            handle(request)

    with Server(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()


def _join(client: socket.socket, upstream: str) -> None:
    """Carry bytes both ways until one side ends."""
    host, _, port = upstream.rpartition(":")
    with socket.create_connection((host, int(port))) as server:
        other = {client: server, server: client}
        while True:
            for source in select.select(list(other), [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    data += source.recv(1 << 16)
                other[source].sendall(data)
