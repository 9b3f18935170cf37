"""Writes `serinus.client.blocking` from `serinus.client.aio`: the same code without its awaits.

python serinus/client/twin.py            writes the files (needs ruff)
python serinus/client/twin.py --check    exit code 1 when one is not what it would be
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

__all__ = ["main", "twin_of", "twins"]

AIO, BLOCKING = Path(__file__).parent / "aio", Path(__file__).parent / "blocking"
HEADER = "# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.\n"
FIRST_PARTY = ("--config", 'lint.isort.known-first-party=["serinus"]')
PACKAGE = '"""The client that blocks, made from its twin that awaits."""\n\n__all__: list[str] = []\n'
WORDS = {
    "async def": "def",
    "async with": "with",
    "async for": "for",
    "await ": "",
    "serinus.client.aio": "serinus.client.blocking",
    "AsyncGenerator": "Generator",
    "AsyncIterator": "Iterator",
    "AsyncClient": "Client",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aconnect_sse": "connect_sse",
    "aiter_sse": "iter_sse",
    "aiter_bytes": "iter_bytes",
    "aclosing": "closing",
    "aclose": "close",
    "aread": "read",
    "asleep": "sleep",
}
FIXES = ("check", "--fix", "--unsafe-fixes", "--select", "I,UP028,C416", *FIRST_PARTY)
"""Order of imports, and what reads otherwise without an `async`."""
_PATTERN = re.compile("|".join(rf"(?<![\w.]){re.escape(word)}|(?<=\.){re.escape(word)}" for word in WORDS))


def twin_of(source: str) -> str:
    """The blocking form of a module of `serinus.client.aio`, formatted."""
    text = HEADER + _PATTERN.sub(lambda found: WORDS[found[0]], source)
    for command in (FIXES, ("format",)):
        ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", str(BLOCKING / "any.py"), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


def twins() -> dict[Path, str]:
    """Every file of `serinus.client.blocking`, as it should be."""
    found = {BLOCKING / path.name: twin_of(path.read_text()) for path in AIO.glob("*.py") if path.stem != "__init__"}
    return {BLOCKING / "__init__.py": PACKAGE, **found}


def main(arguments: list[str]) -> int:
    """Gives the exit status."""
    wanted = twins()
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    stale += [path for path in BLOCKING.glob("*.py") if path not in wanted]
    if "--check" in arguments:
        print("\n".join(f"{path} is not the twin of its source" for path in stale), end="")
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
