"""Seal bytes with AES-256-GCM and authenticate values with HMAC, under keys derived from one. Reads no file.

    sealed = 1 byte version || 4 bytes key id || 12 bytes nonce || ciphertext || 16 bytes tag

Nonces are random: NIST SP 800-38D bounds a key to 2^32 of them, more than a gate seals in its life. What a sealed value
is bound to (whose, what, which model) is authenticated with it, so none can be put in another's place.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from maskgate.values import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
ID_BYTES = 4
TAG_BYTES = 16
OVERHEAD = 1 + ID_BYTES + 12 + 16
"""By how much a sealed value is longer than the plain one."""

Purpose: TypeAlias = Literal["id", "templates", "snapshots", "chain", "rows", "keys"]
"""What a key is for; each purpose has a key of its own (HKDF, RFC 5869)."""

_VERSION = b"\x01"


class Unsealable(StoreError):
    """A sealed value that was altered, moved, or sealed with another key."""


class Master:
    """The one key that a gallery is kept under, and all that follow from it. Never shown."""

    def __init__(self, secret: bytes) -> None:
        """Take `KEY_BYTES` secret bytes."""
        self.secret = secret
        self.id = self.subkey("id")[:ID_BYTES]
        """Tells keys apart, and nothing about them."""
        self._ciphers: dict[Purpose, AESGCM] = {}

    @classmethod
    def fresh(cls) -> Master:
        """Return a new random key."""
        return cls(os.urandom(KEY_BYTES))

    def subkey(self, purpose: Purpose) -> bytes:
        """Return the key for one purpose."""
        return _derived(self.secret, purpose)

    def tag(self, data: bytes) -> bytes:
        """Authenticate a row: the key's id and a MAC."""
        return self.id + hmac.digest(self.subkey("rows"), data, "sha256")[:TAG_BYTES]

    def holds(self, tag: bytes | None, data: bytes) -> bool:
        """Tell whether the tag is this key's for the data."""
        return tag is not None and hmac.compare_digest(self.tag(data), tag)

    def seal(self, purpose: Purpose, plain: bytes, bound: bytes) -> bytes:
        """Encrypt, bound to what the value belongs to."""
        nonce = os.urandom(12)
        return _VERSION + self.id + nonce + self._cipher(purpose).encrypt(nonce, plain, bound)

    def open(self, purpose: Purpose, sealed: bytes, bound: bytes) -> bytes:
        """Undo `seal`; Unsealable for anything that this key did not seal for this purpose and place."""
        from cryptography.exceptions import InvalidTag

        if id_of(sealed) != self.id:
            raise Unsealable(f"sealed with key {id_of(sealed).hex()}, not {self.id.hex()}")
        try:
            return self._cipher(purpose).decrypt(sealed[5:17], sealed[17:], bound)
        except InvalidTag:
            raise Unsealable("altered by somebody without the key") from None

    def opener(self, purpose: Purpose) -> Callable[[bytes, bytes], bytes]:
        """Return `open` for many values of one purpose."""
        from cryptography.exceptions import InvalidTag

        decrypt, begin = self._cipher(purpose).decrypt, _VERSION + self.id

        def opened(sealed: bytes, bound: bytes) -> bytes:
            if sealed[:5] != begin:
                raise Unsealable("sealed with another key")
            try:
                return decrypt(sealed[5:17], sealed[17:], bound)
            except (InvalidTag, ValueError):
                raise Unsealable("altered by somebody without the key") from None

        return opened

    def _cipher(self, purpose: Purpose) -> AESGCM:
        if purpose not in self._ciphers:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._ciphers[purpose] = AESGCM(self.subkey(purpose))
        return self._ciphers[purpose]


def stream_cipher(key: bytes) -> AESGCM:
    """AES-256-GCM for a stream whose nonces are counted, never drawn: a key for one stream alone."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def open_chunk(cipher: AESGCM, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
    """Decrypt a part of a stream; Unsealable when it was altered, moved or sealed with another key."""
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(nonce, sealed, bound)
    except InvalidTag:
        raise Unsealable("altered, or sealed with another key") from None


def id_of(sealed: bytes) -> bytes:
    """Id of the key that sealed it; Unsealable for what nothing of ours has sealed."""
    if len(sealed) < OVERHEAD or not sealed.startswith(_VERSION):
        raise Unsealable("not sealed by maskgate")
    return sealed[1 : 1 + ID_BYTES]


@cache
def _derived(secret: bytes, purpose: Purpose) -> bytes:
    """HKDF-SHA256 with one block, which is as long as a key: RFC 5869, section 2, no salt."""
    inner = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(inner, f"maskgate {purpose}".encode() + b"\x01", "sha256")
