"""Garbage, when somebody asks for it to be taken away."""

from __future__ import annotations

from fastapi import APIRouter

from controller.garbage import Collected, collect
from controller.registry_words import GarbageBody
from controller.services import Admin, Used

__all__ = ["router"]

router = APIRouter(prefix="/v1/garbage", tags=["versions"])


@router.post("")
def post(body: GarbageBody, services: Used, caller: Admin) -> Collected:
    """Remove packages that no version names and uploads that have expired; `dry_run`: only say which."""
    return collect(services.db, services.store, services.clock(), dry_run=body.dry_run, actor=caller.name)
