"""
An ssh-agent with a key on a FIDO token that is made of software: it signs as the tokens do (OpenSSH's
PROTOCOL.u2f), and writes down what it was asked for.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.protocol import Factory, Protocol

from remotedocker.ssh._wire import Reader, mpint, string, uint32

__all__ = ["TokenAgent"]

_APPLICATION = b"ssh:"
_USER_PRESENT = b"\1"
_COUNTER = uint32(7)


class _Client(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, agent: TokenAgent) -> None:
        self._agent = agent
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        """Requests."""
        self._buffer += data
        while len(self._buffer) >= 4 and len(self._buffer) >= 4 + int.from_bytes(self._buffer[:4], "big"):
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            request, self._buffer = self._buffer[4:end], self._buffer[end:]
            self.transport.write(string(self._agent.answer(request)))


class TokenAgent(Factory):
    """
    The agent.

    @ivar blobs: the keys and certificates that it offers.
    @ivar flags: of each signature that was asked for.
    """

    noisy = False

    def __init__(self, curve: bool = False) -> None:
        """
        @param curve: whether the key is of the NIST curve, instead of ed25519.
        """
        self._key = ec.generate_private_key(ec.SECP256R1()) if curve else ed25519.Ed25519PrivateKey.generate()
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            self.kind = b"sk-ssh-ed25519@openssh.com"
            public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self.blob = string(self.kind) + string(public) + string(_APPLICATION)
        else:
            self.kind = b"sk-ecdsa-sha2-nistp256@openssh.com"
            point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            self.blob = string(self.kind) + string(b"nistp256") + string(point) + string(_APPLICATION)
        self.blobs = [self.blob]
        self.flags: list[int] = []

    def write_public_key(self, path: Path) -> Path:
        """@return: C{path}, where the public key now is."""
        path.write_text(f"{self.kind.decode()} {base64.b64encode(self.blob).decode()} token\n")
        return path

    def buildProtocol(self, addr: object) -> Protocol:
        """One connection."""
        return _Client(self)

    def answer(self, request: bytes) -> bytes:
        """@return: the answer to a request."""
        if request[0] == 11:
            offered = b"".join(string(blob) + string(b"token") for blob in self.blobs)
            return b"\14" + uint32(len(self.blobs)) + offered
        reader = Reader(request[1:])
        blob, data = reader.string(), reader.string()
        self.flags.append(reader.uint32())
        if request[0] != 13 or blob not in self.blobs:
            return b"\5"
        application, message = (hashlib.sha256(part).digest() for part in (_APPLICATION, data))
        hashed = application + _USER_PRESENT + _COUNTER + message
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            signature = string(self._key.sign(hashed))
        else:
            r, s = decode_dss_signature(self._key.sign(hashed, ec.ECDSA(hashes.SHA256())))
            signature = string(mpint(r) + mpint(s))
        return b"\16" + string(string(self.kind) + signature + _USER_PRESENT + _COUNTER)
