"""Signatures of packages: Ed25519, over the digest of the manifest, which names the digest of every other file.

A signature is kept beside its package, never inside it, so that signing changes no digest. What is signed begins with
words of its own: a signature made for anything else can never pass for one of a package."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from serinus.errors import BadInput, BadSignature
from serinus.tasks import Word

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PREFIX", "Digest", "Signature", "fingerprint", "new_key", "public_of", "read_public", "sign", "verify"]

PREFIX = b"serinus package signature, format 1\n"
MAX_KEY_BYTES = 16_384
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Signature(Word):
    """Somebody answers for a package. Format 1. `digest`: of the package; `key`: fingerprint of the public key.

    `signature`: base64 of 64 bytes."""

    format: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    digest: Digest
    key: Digest
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]


def sign(digest: str, private_pem: bytes, password: bytes | None = None) -> Signature:
    """Sign a package's digest (`serinus.package.digest_of`). `private_pem`: PKCS #8.

    Raises BadInput when it is no Ed25519 private key, or the password is not its own."""
    key = _private(private_pem, password)
    public = key.public_key().public_bytes_raw()
    signed = base64.b64encode(key.sign(_message(digest))).decode()
    return Signature(digest=digest, key=fingerprint(public), signature=signed)


def verify(signature: Signature, public: bytes) -> None:
    """Raise BadSignature unless the owner of that public key (32 bytes) has made it."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 not a dependency of everybody
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    if signature.key != fingerprint(public):
        raise BadSignature(f"it is by the key {signature.key[:12]}, not by {fingerprint(public)[:12]}")
    try:
        told = base64.b64decode(signature.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(told, _message(signature.digest))
    except (InvalidSignature, ValueError) as error:
        raise BadSignature(f"the signature of {signature.digest[:12]} by key {signature.key[:12]} is false") from error


def fingerprint(public: bytes) -> str:
    """SHA-256, hex, of a public key's 32 bytes."""
    return hashlib.sha256(public).hexdigest()


def read_public(text: str) -> bytes:
    """The 32 bytes of a public key given as PEM, or as their base64. Raises BadInput."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    expected = "expected an Ed25519 public key, as PEM or as base64 of its 32 bytes"
    if len(text) > MAX_KEY_BYTES or "PRIVATE KEY" in text:
        raise BadInput(expected, "never send a private key anywhere: `openssl pkey -pubout` gives the public one")
    try:
        if "-----BEGIN" in text:
            key = load_pem_public_key(text.strip().encode())
        else:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except (ValueError, TypeError, binascii.Error, UnicodeError) as error:
        raise BadInput(expected) from error
    except Exception as error:  # cryptography names kinds of keys that it does not support by a class of its own
        raise BadInput(expected) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput(expected)
    return key.public_bytes_raw()


def public_of(private_pem: bytes, password: bytes | None = None) -> str:
    """The public key of a private one, PEM. Raises BadInput."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    public = _private(private_pem, password).public_key()
    how = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*how).decode()


def new_key(path: Path) -> str:
    """Write a new private key to a file that does not exist yet, mode 0600: its public key, PEM."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = Ed25519PrivateKey.generate().private_bytes(*how)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(pem)
    return public_of(pem)


def _private(pem: bytes, password: bytes | None) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as Private  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem, password)
    except Exception as error:  # its message may quote the key
        raise BadInput("expected an Ed25519 private key in PEM (PKCS #8), and its password if it has one") from error
    if not isinstance(key, Private):
        raise BadInput("the private key is not of Ed25519", "`openssl genpkey -algorithm ed25519` makes one")
    return key


def _message(digest: str) -> bytes:
    return PREFIX + digest.encode("ascii")
