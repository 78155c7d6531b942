"""Where a project's repository is, how git may speak to it, and as whom.

A local repository is served by a git process of its own (`upload-pack`, `receive-pack`) that obeys the
repository's configuration. Autopack starts that process hardened: its hooks don't run (they are the user's,
and would run with Autopack's rights), nor does anything else that its configuration names. When Autopack runs
as root and the repository is another user's, the process runs as that user: git's ownership check then passes
without `safe.directory`, and what it writes belongs to the user. A server reached by ssh or https applies its
own rules; https asks `integration.credentials` who Autopack is there, ssh the service user's keys and agent.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from integration.credentials import credentials, header_for
from integration.git import HARDENING, environment
from integration.git_errors import SourceRefused, SourceUnavailable

_SCP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[A-Za-z0-9~/._+-]+")
_URL = re.compile(r"(https|ssh)://(?:[A-Za-z0-9._~%+-]+(?::[^@/\s]*)?@)?[A-Za-z0-9\[][^\s\x00-\x1f]*")

#: What a serving process on this machine may not do, whatever the repository's own configuration says.
_SERVING: tuple[str, ...] = (
    *(value for value in HARDENING if not value.startswith("safe.")),
    "core.filesRefLockTimeout=5000",  # the user may be at work there
    "core.packedRefsTimeout=5000",
    "receive.denyCurrentBranch=refuse",
    "receive.denyNonFastForwards=true",
    "receive.denyDeletes=true",
    "receive.autogc=false",
    "receive.updateServerInfo=false",
    "uploadpack.allowAnySHA1InWant=false",
)

_AS_OWNER = (
    "import os,sys;"
    "os.setgroups([]);os.setgid(int(sys.argv[2]));os.setuid(int(sys.argv[1]));"
    "os.execv(sys.argv[3],sys.argv[3:])"
)


@dataclass(frozen=True)
class Source:
    """A repository's address, checked. `local` is its folder when it is on this machine."""

    address: str
    protocol: str
    local: Path | None

    @classmethod
    def of(cls, address: str | Path) -> Source:
        """Read an address: an absolute path, `file://`, `https://`, `ssh://` or `user@host:path`.

        Raises SourceRefused for any other kind (`ext::`, `http://`, `git://`, options), SourceUnavailable for
        a path that isn't a folder.
        """
        text = str(address)
        if text.startswith("file:///"):
            text = text[len("file://") :]
        if text.startswith("/"):
            if re.search(r"[\x00-\x1f]", text):
                raise SourceRefused("A path with control characters")
            folder = Path(text)
            if not folder.is_dir():
                raise SourceUnavailable(f"{text} is not a folder")
            return cls(text, "file", folder)
        if match := _URL.fullmatch(text):
            return cls(text, match[1], None)
        if _SCP.fullmatch(text):
            return cls(text, "ssh", None)
        raise SourceRefused("Give an absolute path, an https:// or ssh:// address, or user@host:path")

    @property
    def shown(self) -> str:
        """Return the address without a password or token."""
        return redacted(self.address)

    def serving(self, service: str) -> tuple[str, ...]:
        """Return the option that hardens a local `upload-pack` or `receive-pack`; none for a server."""
        if self.local is None:
            return ()
        env = environment(None)
        if service == "upload-pack":
            env["GIT_PROTOCOL"] = "version=2"  # only this version tells which refs are aliases of others
        clean = shutil.which("env") or "/usr/bin/env"
        argv = [clean, "-i", *(f"{key}={value}" for key, value in env.items()), "git"]
        for value in _SERVING:
            argv += ("-c", value)
        argv.append(service)
        owner = self.local.joinpath(".git") if self.local.joinpath(".git").exists() else self.local
        entry = owner.stat()
        if os.geteuid() == 0 and entry.st_uid != 0:
            argv = [sys.executable, "-I", "-c", _AS_OWNER, str(entry.st_uid), str(entry.st_gid), *argv]
        return (f"--{service}={shlex.join(argv)}",)

    def env(self) -> dict[str, str]:
        """Return what the transport needs beside git's own environment, and no more."""
        if self.protocol == "https":
            return self._https()
        if self.protocol != "ssh":
            return {}
        return self._ssh()

    def _ssh(self) -> dict[str, str]:
        argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
        if settings.GIT_SSH_KEY_FILE:
            argv += ("-i", settings.GIT_SSH_KEY_FILE, "-o", "IdentitiesOnly=yes")
        if settings.GIT_KNOWN_HOSTS_FILE:
            known = settings.GIT_KNOWN_HOSTS_FILE
            argv += ("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes")
        env = {"GIT_SSH_COMMAND": shlex.join(argv), "GIT_SSH_VARIANT": "ssh"}
        if agent := os.environ.get("SSH_AUTH_SOCK"):
            env["SSH_AUTH_SOCK"] = agent
        return env

    def _https(self) -> dict[str, str]:
        # A redirect would carry the header to wherever the server says.
        config = {"http.followRedirects": "false"}
        if header := header_for(self.address, credentials(settings.GIT_CREDENTIALS)):
            config["http.extraHeader"] = header
        if settings.GIT_CA_FILE:
            config["http.sslCAInfo"] = settings.GIT_CA_FILE
        env = {"GIT_CONFIG_COUNT": str(len(config))}
        for number, (key, value) in enumerate(config.items()):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return env


def redacted(text: str) -> str:
    """Return text with the user part of every URL in it taken out."""
    return re.sub(r"(https?|ssh)://[^/@\s]*@", r"\1://", text)
