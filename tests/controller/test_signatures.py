"""Who may answer for a package, and what happens to a version that nobody answers for."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from controller.advance import promote_now
from controller.registry import add_version, version_of
from controller.rollouts import Ask
from controller.rows import lock_model
from controller.signatures import check_signed, keep_signatures, put_key, revoke
from controller.tables import RolloutRow, SignatureRow
from serinus.errors import BadInput, BadSignature, Stale, Unsigned
from serinus.rollouts import Phase
from serinus.signing import PREFIX, Signature, fingerprint, new_key, public_of, read_public, sign, verify

DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two private keys, PEM."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("one", "two"):
        new_key(folder / name)
    return (folder / "one").read_bytes(), (folder / "two").read_bytes()


def test_a_new_key_is_a_secret_file_that_never_replaces_another(tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert public == public_of((tmp_path / "key").read_bytes())
    with pytest.raises(FileExistsError):
        new_key(tmp_path / "key")


def test_what_is_signed_is_the_digest_with_words_before_it(keys: tuple[bytes, bytes]) -> None:
    """By the primitive itself: so others can verify and make signatures."""
    signature = sign(DIGEST, keys[0])
    key: Any = serialization.load_pem_private_key(keys[0], None)
    assert base64.b64encode(key.sign(PREFIX + DIGEST.encode())).decode() == signature.signature
    assert signature.key == fingerprint(key.public_key().public_bytes_raw())


@given(st.integers(0, 63), st.integers(1, 255))
def test_a_signature_that_is_off_by_anything_is_false(at: int, flip: int) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public, good = key.public_key().public_bytes_raw(), sign(DIGEST, key.private_bytes(*how))
    verify(good, public)
    raw = bytearray(base64.b64decode(good.signature))
    raw[at] ^= flip
    with pytest.raises(BadSignature):
        verify(good.model_copy(update={"signature": base64.b64encode(raw).decode()}), public)
    with pytest.raises(BadSignature):
        verify(good.model_copy(update={"digest": "ac" + DIGEST[2:]}), public)


def test_keys_are_read_as_pem_and_base64_and_nothing_else_is(keys: tuple[bytes, bytes]) -> None:
    pem = public_of(keys[0])
    assert read_public(base64.b64encode(read_public(pem)).decode()) == read_public(pem)
    how = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*how).decode()
    for wrong in (keys[0].decode(), other, "", "AAAA", "é", pem.replace("A", "", 1), "A" * 20_000):
        with pytest.raises(BadInput):
            read_public(wrong)
    with pytest.raises(BadInput, match="Ed25519"):
        sign(DIGEST, other.encode())


def ruled(world: Any, keys: tuple[bytes, bytes], make: Any) -> Signature:
    """`ads` takes only what `release` has signed; version 4 is DIGEST. Gives its signature, which nobody has yet."""
    with world.db.write() as session:
        put_key(session, "release", public_of(keys[0]), actor="test", now=world.now)
        put_key(session, "other", public_of(keys[1]), actor="test", now=world.now)
        add_version(session, "ads", DIGEST, make.manifest("click", note="4"), world.now)
        lock_model(session, "ads").signed_by = ("release",)
    return sign(DIGEST, keys[0])


def test_an_unsigned_version_is_neither_rolled_out_nor_promoted(
    world: Any, make: Any, keys: tuple[bytes, bytes]
) -> None:
    good = ruled(world, keys, make)
    ask = Ask("promote", "hurry", "test")
    with pytest.raises(Unsigned, match="release"):
        world.start(4)
    with world.db.write() as session, pytest.raises(Unsigned, match="release"):
        promote_now(session, "ads", 4, world.uri, ask=ask, initial=False, now=world.now)
    with world.db.write() as session:
        keep_signatures(session, DIGEST, [sign(DIGEST, keys[1])], actor="test", now=world.now)
    with pytest.raises(Unsigned):  # signed, but by none of those who must
        world.start(4)
    with world.db.write() as session:
        assert len(keep_signatures(session, DIGEST, [good], actor="test", now=world.now)) == 1
        assert keep_signatures(session, DIGEST, [good], actor="test", now=world.now) == []
    world.start(4)


def test_a_key_that_is_revoked_halts_what_goes_on(world: Any, make: Any, keys: tuple[bytes, bytes]) -> None:
    good = ruled(world, keys, make)
    with world.db.write() as session:
        keep_signatures(session, DIGEST, [good], actor="test", now=world.now)
    world.digests[4] = DIGEST
    rollout = world.start(4)
    world.replicas(1, 4)
    world.reconciler().round()
    with world.db.write() as session:
        revoke(session, "release", actor="test", now=world.now)
    for day in range(1, 6):
        world.replicas(1, 4)
        world.look(rollout, at_ms=make.T0 + day * make.DAY_MS, candidate=4)
        world.reconciler().round()
    with world.db.read() as session:
        row = session.get(RolloutRow, rollout)
        assert (row.phase, row.promoted) == (Phase.SHADOW, False)
        with pytest.raises(Unsigned):
            check_signed(session, lock_model(session, "ads"), DIGEST)


def test_a_signature_in_the_database_is_not_believed(world: Any, make: Any, keys: tuple[bytes, bytes]) -> None:
    good = ruled(world, keys, make)
    forged = good.model_copy(update={"signature": sign("cd" * 32, keys[0]).signature})
    with world.db.write() as session:
        with pytest.raises(BadSignature):
            keep_signatures(session, DIGEST, [forged], actor="test", now=world.now)
        session.add(SignatureRow(digest=DIGEST, fingerprint=good.key, body=forged, actor="thief", at=0.0))
    with world.db.read() as session, pytest.raises(Unsigned):
        check_signed(session, lock_model(session, "ads"), version_of(session, "ads", 4).digest)


def test_a_name_means_one_key_for_ever(world: Any, keys: tuple[bytes, bytes]) -> None:
    one, two = map(public_of, keys)
    with world.db.write() as session:
        assert put_key(session, "release", one, actor="test", now=1.0)[1]
        assert not put_key(session, "release", one, actor="test", now=2.0)[1]
        for name, key in (("release", two), ("again", one)):
            with pytest.raises(Stale):
                put_key(session, name, key, actor="test", now=3.0)
        revoke(session, "release", actor="test", now=4.0)
        for name in ("release", "again"):
            with pytest.raises(Stale):
                put_key(session, name, one, actor="test", now=5.0)
