"""What the API says of itself: how one shows a token, what errors look like, an example of everything."""

from __future__ import annotations

from fastapi import FastAPI

__all__ = ["describe"]


def describe(app: FastAPI) -> None:
    """Make the application's OpenAPI document whole."""
