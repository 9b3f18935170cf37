"""What people were told, whether it reached them, and a trial of the way there."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select

from controller.audit import audit
from controller.notify.outbox import tell
from controller.notify.views import NoticeView, TestBody, notice_view
from controller.paging import Key, Page, Paged, page_of
from controller.rows import model_of
from controller.services import Operating, Used, Viewing
from controller.tables import NoticeRow
from serinus.notices import Notice
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/notices", tags=["notices"])
NEWEST_FIRST = (Key(NoticeRow.number, falling=True),)


@router.get("")
def list_notices(services: Used, _caller: Viewing, paged: Paged, model: Name | None = None) -> Page[NoticeView]:
    """Notices of the last 30 days, the newest first, each with whom it reached."""
    query = select(NoticeRow)
    if model is not None:
        query = query.where(NoticeRow.model == model)
    with services.db.read() as session:
        return page_of(session, query, NEWEST_FIRST, paged, lambda row: notice_view(session, row))


@router.post("/test", status_code=202)
def test(body: TestBody, services: Used, caller: Operating) -> NoticeView:
    """Send a notice that means nothing to every target of the model; the list shows whether it arrived."""
    now = services.clock()
    notice = Notice(
        kind="test",
        severity="critical",
        key=f"test {now}",
        model=body.model,
        title=f"{body.model}: a test",
        text=f"{caller.name} tries whether notices arrive. Nothing is wrong.",
        at=now,
    )
    with services.db.write() as session:
        model_of(session, body.model)
        row = tell(session, notice)
        audit(session, actor=caller.name, action="notice.test", subject=f"models/{body.model}", detail={}, now=now)
        return notice_view(session, row)
