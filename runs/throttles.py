"""How often a token and an address may ask: buckets in Redis that all web processes share.

A bucket holds a minute's worth and refills evenly, so a burst is served and a steady excess is not. Redis carries
hints only: when it does not answer, everything is let through, a warning is logged, and it is asked again after
PAUSE_S, so that a Redis that hangs costs a request twice PATIENCE_S, and not all of them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import threading
import time
from functools import lru_cache
from typing import Any

import redis
import structlog
from django.conf import settings
from django.http import HttpRequest
from redis.backoff import NoBackoff
from redis.retry import Retry

from autopack_site.kernel.errors import AutopackError

log = structlog.get_logger(__name__)
PATIENCE_S = 0.25
PAUSE_S = 5.0

# A bucket is the time at which it will be full again (GCRA), by Redis's clock. Nothing is taken from any unless
# all have enough. KEYS: buckets; ARGV: their sizes. Returns 0, or the microseconds until there is enough.
_TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local wait, full = 0, {}
for i, key in ipairs(KEYS) do
  full[i] = math.max(tonumber(redis.call('GET', key) or now), now) + 60000000 / tonumber(ARGV[i])
  wait = math.max(wait, full[i] - now - 60000000)
end
if wait > 0 then return math.ceil(wait) end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
end
return 0
"""


class Throttled(AutopackError):
    """More requests than this installation takes from one token or address. Retry-After says when."""

    code, status, retryable = "throttled", 429, True
    title = "Too many requests"

    def __init__(self, wait_us: int) -> None:
        self.retry_after_s = max(1, math.ceil(wait_us / 1_000_000))
        super().__init__(f"Too many requests: come back in {self.retry_after_s} s")


class _Absence:
    """Until when Redis is not asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def is_over(self) -> bool:
        """Tell whether Redis may be asked again."""
        return time.monotonic() >= self._until

    def begin(self, error: Exception) -> None:
        """Note that Redis did not answer."""
        with self._lock:
            is_new, self._until = self.is_over(), time.monotonic() + PAUSE_S
        if is_new:
            log.warning("throttles.open", error=type(error).__name__, pause_s=PAUSE_S)

    def end(self) -> None:
        """Forget it."""
        self._until = 0.0


absence = _Absence()


def admit(address: str | None, credential: bytes) -> None:
    """Count one request of an address (None: not known) and of what it presents as a token (may be empty).

    One round trip to Redis. Raises Throttled.
    """
    buckets = []
    if address is not None:
        buckets.append((f"address:{address}", settings.ADDRESS_REQUESTS_PER_MINUTE))
    if credential:
        buckets.append((f"token:{_digest(credential)}", settings.TOKEN_REQUESTS_PER_MINUTE))
    _take(buckets)


def count_failure(address: str | None) -> None:
    """Count one refused token of an address. Raises Throttled when there were too many.

    A token that holds is served all the same: agents behind one address don't suffer for a neighbour with an old
    token, and 256 random bits are not guessed, however often somebody tries.
    """
    if address is not None:
        _take([(f"failed:{address}", settings.FAILED_TOKENS_PER_MINUTE)])


def address_of(request: HttpRequest) -> str | None:
    """Return the caller's address, an IPv6 one as its /64; None when it is not known (a unix socket).

    Behind TRUSTED_PROXIES proxies it is the one that the outermost of them noted in X-Forwarded-For: what stands
    further left may be invented.
    """
    found = request.META.get("REMOTE_ADDR", "")
    if settings.TRUSTED_PROXIES:
        hops = request.headers.get("X-Forwarded-For", "").split(",")
        found = hops[-min(settings.TRUSTED_PROXIES, len(hops))].strip() or found
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


def _take(buckets: list[tuple[str, int]]) -> None:
    """Take one from each bucket; a size of 0 is no limit. Raises Throttled."""
    limited = [(f"autopack:throttle:{name}", size) for name, size in buckets if size]
    if not limited or not absence.is_over():
        return
    try:
        script = _script(settings.REDIS_URL)
        wait_us = int(script(keys=[name for name, _ in limited], args=[size for _, size in limited]))
    except (redis.RedisError, OSError) as error:
        absence.begin(error)
        return
    if wait_us:
        raise Throttled(wait_us)


@lru_cache(maxsize=4)
def _script(url: str) -> Any:
    """Return the script on a pool of connections that this process's threads share."""
    client = redis.Redis.from_url(
        url,
        socket_timeout=PATIENCE_S,
        socket_connect_timeout=PATIENCE_S,
        retry=Retry(NoBackoff(), 1),  # once: a connection of the pool may be an old one
    )
    return client.register_script(_TAKE)


def _digest(credential: bytes) -> str:
    """Return what a credential is counted under: Redis never sees it."""
    return hashlib.sha256(credential).hexdigest()[:32]
