"""`serinus sign`, and `serinus keys new | list | add | remove`: who answers for packages."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from serinus.cli.complete import Model, Version
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table, wall_time
from serinus.errors import BadInput, Unavailable
from serinus.package import digest_of
from serinus.signing import Signature

__all__ = ["add_to", "signed"]

KeyFile = Annotated[
    Path, typer.Option("--key", "-k", help="Private key, Ed25519, PEM; it stays here.", exists=True, dir_okay=False)
]
group = typer.Typer(help="Public keys that packages may be signed by.", no_args_is_help=True)


def signed(digest: str, key: Path) -> Signature:
    """The digest, signed by the private key in a file ($SERINUS_KEY_PASSWORD, if it has one)."""
    password = os.environ.get("SERINUS_KEY_PASSWORD")
    made: Signature = _signing().sign(digest, key.read_bytes(), password.encode() if password else None)
    return made


def sign(
    model: Model,
    version: Version,
    key: KeyFile,
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Your copy of the package: it must be what is registered.", exists=True)
    ] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Sign a version with a private key of this machine ($SERINUS_KEY_PASSWORD, if it has one)."""
    client = client_of(home)
    digest = client.version(model, version).digest
    if folder is not None and digest_of(folder) != digest:
        raise BadInput(f"{folder} is not {model} version {version}: its digest is {digest_of(folder)[:12]}")
    made = signed(digest, key)
    client.sign(model, version, made.model_dump(mode="json"))
    if as_json:
        print_json(made)
    else:
        console.print(f"{model} version {version} is signed by key {made.key[:12]}", markup=False)


@group.command()
def new(file: Annotated[Path, typer.Argument(help="A file that is not there yet.")]) -> None:
    """Make a private key in a new file (0600); its public key is printed, to be added."""
    if file.exists():
        raise BadInput(f"{file} exists already", "a key is never written over another file")
    console.print(_signing().new_key(file).strip(), markup=False, soft_wrap=True)


@group.command("list")
def list_(home: HomeOption = None, as_json: AsJson = False) -> None:
    """List the public keys that are known."""
    found = client_of(home).keys()
    if as_json:
        print_json(found)
    else:
        rows = [(each.name, each.fingerprint[:16], wall_time(each.revoked_at)) for each in found]
        table("", ("key", "fingerprint", "revoked"), rows)


@group.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    public: Annotated[Path, typer.Argument(help="Public key, PEM or base64.", exists=True, dir_okay=False)],
    home: HomeOption = None,
) -> None:
    """Make a public key known."""
    text = public.read_text()
    _signing().read_public(text)  # a private key must never leave this machine
    client_of(home).key_set(name, text.strip())
    console.print(f"{name} is known", markup=False)


@group.command()
def remove(name: Annotated[str, typer.Argument(help="Name of the key.")], home: HomeOption = None) -> None:
    """Take a public key away: what it has signed counts as unsigned."""
    client_of(home).key_delete(name)
    console.print(f"{name} is no longer known", markup=False)


def _signing() -> ModuleType:
    try:
        import cryptography  # noqa: F401, PLC0415
    except ImportError as error:
        raise Unavailable("cryptography is not installed", 'pip install "serinus[server]"') from error
    from serinus import signing  # noqa: PLC0415

    return signing


def add_to(app: typer.Typer) -> None:
    app.command()(sign)
    app.add_typer(group, name="keys")
