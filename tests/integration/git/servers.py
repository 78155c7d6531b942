"""Real servers of one repository: git's own CGI behind TLS and a password, and git behind ssh and a key."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "autopack", "p@ss:w/rd %41"
_ENV = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass
class HttpsServer:
    """What the test may look at: where it is, whose certificate it shows, and who has asked for what."""

    url: str
    certificate: Path
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    redirect_to: str | None = None


@contextmanager
def https_server(root: Path, folder: Path) -> Iterator[HttpsServer]:
    """Serve the repositories below root by https, to one user."""
    certificate = _certificate(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Keep the test's output clean."""

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self._body()
            header = self.headers.get("Authorization")
            found.asked.append((self.path, header))
            if found.redirect_to is not None:
                self._send(302, [("Location", found.redirect_to + self.path)], b"")
            elif header != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
                self._send(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
            else:
                self._cgi(body)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _cgi(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            env = {
                **_ENV,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "2",
                "GIT_CONFIG_KEY_0": "http.receivepack",
                "GIT_CONFIG_VALUE_0": "true",
                "GIT_CONFIG_KEY_1": "safe.directory",
                "GIT_CONFIG_VALUE_1": "*",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": USER,
                "REMOTE_ADDR": "127.0.0.1",
            }
            done = subprocess.run(
                ["git", "http-backend"], env=env, input=body, capture_output=True, check=True
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            rows = [row.split(": ", 1) for row in head.decode().split("\r\n") if row]
            status = next((value for name, value in rows if name == "Status"), "200 OK")
            self._send(int(status[:3]), [(n, v) for n, v in rows if n != "Status"], content)

        def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, folder / "tls-key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found = HttpsServer(f"https://127.0.0.1:{server.server_address[1]}", certificate)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "tls-key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
    path = folder / "tls-certificate.pem"
    path.write_bytes(made.public_bytes(pem))
    return path


async def _pump(read: Callable[[int], Awaitable[bytes]], target: Any) -> None:
    while content := await read(65536):
        target.write(content)
        await target.drain()
    if isinstance(target, asyncio.StreamWriter):
        target.close()


@dataclass
class SshServer:
    """Where it is, the files that a client needs, and what clients had run."""

    url: str
    key: Path
    known_hosts: Path
    commands: list[str] = field(default_factory=list)


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Let the holder of one key run git's two services over ssh, on any path of this machine."""
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    key = folder / "id"
    client_key.write_private_key(key)
    key.chmod(0o600)
    allowed = asyncssh.import_authorized_keys(client_key.export_public_key().decode())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        found.commands.append(command)
        service, _, path = command.partition(" ")
        if service not in ("git-upload-pack", "git-receive-pack"):
            process.exit(127)
            return
        env = {**_ENV, "GIT_PROTOCOL": process.env.get("GIT_PROTOCOL", "")}
        argv = ["git", "-c", "safe.directory=*", service.removeprefix("git-"), path.strip("'")]
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        taking = asyncio.ensure_future(_pump(process.stdin.read, child.stdin))
        await asyncio.gather(
            _pump(child.stdout.read, process.stdout), _pump(child.stderr.read, process.stderr)
        )
        taking.cancel()
        process.exit(await child.wait())

    async def start() -> Any:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=allowed,
            process_factory=serve, encoding=None,
        )  # fmt: skip

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    port = server.sockets[0].getsockname()[1]
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}")
    found = SshServer(f"ssh://git@127.0.0.1:{port}", key, known)
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
