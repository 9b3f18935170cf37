"""The database's URL holds a password: it may come in a file, and no error repeats what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.settings import Settings
from serinus.errors import BadInput

URL = "postgresql+psycopg://serinus:hidden@127.0.0.1/serinus"


def test_the_url_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    assert Settings.from_env({"SERINUS_DATABASE_URL_FILE": str(tmp_path / "url")}).database_url == URL


def test_a_file_that_cannot_be_used_is_named_and_its_text_is_not(tmp_path: Path) -> None:
    file = tmp_path / "url"
    for content in (None, b"", b" \n", b"hidden\xff"):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(BadInput, match="SERINUS_DATABASE_URL_FILE") as refused:
            Settings.from_env({"SERINUS_DATABASE_URL_FILE": str(file)})
        assert "hidden" not in refused.value.detail
    with pytest.raises(BadInput, match="both set"):
        Settings.from_env({"SERINUS_DATABASE_URL_FILE": str(file), "SERINUS_DATABASE_URL": URL})
