"""Signed file URLs: HMAC-SHA256 over what may be done, to which file, until when.

Promises that nobody without the secret can make a URL, change its file or prolong it. A URL is a bearer token for
reading one file until it expires; it says nothing about who uses it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
from pathlib import Path

from pydantic import SecretStr

_PURPOSE = b"genpulse file url 1"
_READ = "read"
"""The method class that a URL opens: GET and HEAD."""
_EXPIRY = re.compile(r"[1-9][0-9]{0,11}")
_LEAST_SECRET = 32
_log = logging.getLogger(__name__)


class UrlSigner:
    """Signs and verifies the query of `/files/{file_id}/{name}`."""

    def __init__(self, secret: bytes) -> None:
        # A key of its own, so that the same secret may serve other purposes too.
        self._key = hmac.digest(secret, _PURPOSE, "sha256")

    def sign(self, file_id: str, expires_at_s: int) -> str:
        """The signature (hex) that opens a file until a Unix time in seconds."""
        message = f"{_READ}\n{file_id}\n{expires_at_s}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def query(self, file_id: str, expires_at_s: int) -> str:
        """The query string of a file URL."""
        return f"exp={expires_at_s}&sig={self.sign(file_id, expires_at_s)}"

    def verify(self, file_id: str, exp: str, sig: str, now: float) -> bool:
        """True when `exp` and `sig`, as they came in the query, open the file at the Unix time `now`."""
        if not _EXPIRY.fullmatch(exp):
            return False
        expected = self.sign(file_id, int(exp))
        return hmac.compare_digest(expected.encode(), sig.encode(errors="replace")) and now < int(exp)


def load_secret(secret_key: SecretStr | None, data_dir: Path) -> bytes:
    """The secret of GENPULSE_SECRET_KEY, else of `data_dir/secret`, which is made when it doesn't exist.

    Raises:
        ValueError: it is too short to be secret.
    """
    if secret_key is not None:
        return _long_enough(secret_key.get_secret_value().encode(), "GENPULSE_SECRET_KEY")
    path = data_dir / "secret"
    if not path.exists():
        _create(path)
    if path.stat().st_mode & 0o077:
        _log.warning("%s was readable by others; it is private now, but may be known: delete it to get a new one", path)
        path.chmod(0o600)
    return _long_enough(path.read_bytes().strip(), str(path))


def _create(path: Path) -> None:
    """Whole or not at all, and once: of several processes that start together one wins, the others read its secret."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _long_enough(secret: bytes, source: str) -> bytes:
    if len(secret) < _LEAST_SECRET:
        raise ValueError(f"{source} is too short: at least {_LEAST_SECRET} characters, random ones")
    return secret
