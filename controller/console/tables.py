"""The tables of the console: who is logged in. Wall times: Unix seconds."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from controller.base import Base

__all__ = ["ConsoleCode", "ConsoleSession"]


class ConsoleSession(Base):
    """A browser that logged in with a token. `secret`: SHA-256, hex, of what its cookie holds; `token`: SHA-256 of the
    token, so that it ends with that."""

    __tablename__ = "console_sessions"
    secret: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)


class ConsoleCode(Base):
    """A way in that works once. `secret`: SHA-256, hex, of the code."""

    __tablename__ = "console_codes"
    secret: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]
    expires_at: Mapped[float] = mapped_column(index=True)
