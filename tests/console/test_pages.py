"""Every page in a real browser: it fits a phone, is readable in both colour schemes, and nothing hostile runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.console.conftest import DESKTOP, PHONE, Served, log_in

PAGES = {
    "overview": "/console/",
    "models": "/console/models?find=o",
    "model": "/console/models/ads",
    "a model without versions in force": "/console/models/fresh",
    "version": "/console/models/ads/versions/3",
    "start a rollout": "/console/models/ads/versions/4/rollout",
    "promote a version": "/console/models/maps/versions/2/promote",
    "diff": "/console/models/ads/diff?old=1&new=3",
    "rollouts": "/console/rollouts",
    "canary": "/console/rollouts/{canary}",
    "rolled back": "/console/rollouts/{violated}",
    "awaits approval": "/console/rollouts/{gate}",
    "queued": "/console/rollouts/{queued}",
    "command": "/console/rollouts/{canary}/do/promote",
    "explain": "/console/rollouts/{violated}/explain",
    "jobs": "/console/jobs",
    "plan": "/console/jobs/{plan}",
    "audit": "/console/audit",
    "processes": "/console/processes",
    "none such": "/console/none/such",
    "not possible now": "/console/rollouts/{violated}/do/pause",
}
CONTRAST = {"runOnly": ["color-contrast"]}
GRAVE = ("serious", "critical")
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def phone(browser: Browser, served: Served) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE, color_scheme="light")  # type: ignore[arg-type]
    yield log_in(context, served, "operator")
    context.close()


def path_of(served: Served, name: str) -> str:
    return PAGES[name].format(**served.story.rollouts, **served.story.jobs)


def grave(page: Page, options: dict[str, list[str]] | None = None) -> list[str]:
    """What axe finds serious or critical, each with the places."""
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in GRAVE
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody(name: str, served: Served, phone: Page) -> None:
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 404" not in message.text + "status of 409":
            said.append(message.text)

    phone.on("console", hear)
    phone.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
    phone.emulate_media(color_scheme="light")
    phone.goto(served.url + path_of(served, name))
    assert phone.evaluate(WIDER) <= 0
    for each in phone.query_selector_all("details"):
        each.evaluate("each => each.setAttribute('open', '')")
    assert phone.evaluate(WIDER) <= 0
    assert grave(phone) == []
    phone.emulate_media(color_scheme="dark")
    assert grave(phone, CONTRAST) == []
    phone.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    assert phone.evaluate(WIDER) <= 0
    phone.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert phone.title() != "gone"
    assert phone.locator("h1").count() == 1
    assert [line for line in said if "409" not in line] == []
    phone.remove_listener("console", hear)


def test_the_way_in_is_for_everybody(browser: Browser, served: Served) -> None:
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{served.url}/console/")
    assert page.get_by_label("Your token").evaluate("each => each === document.activeElement")
    assert grave(page) == []
    assert page.evaluate(WIDER) <= 0
    context.close()


def test_colours_follow_what_the_reader_prefers(served: Served, phone: Page) -> None:
    phone.goto(f"{served.url}/console/")
    colour = "getComputedStyle(document.body).backgroundColor"
    phone.emulate_media(color_scheme="dark")
    dark = phone.evaluate(colour)
    phone.emulate_media(color_scheme="light")
    assert dark != phone.evaluate(colour)


def test_what_decides_comes_first_and_has_its_picture(served: Served, phone: Page) -> None:
    phone.goto(served.url + path_of(served, "rolled back"))
    first = phone.locator(".guard").first
    assert "violated" in first.inner_text()
    assert "why it goes back" in first.inner_text()
    assert first.locator("svg[role=img] title").count() == 1
    assert phone.locator("#guards-table tbody tr").count() == 25
    phone.goto(served.url + path_of(served, "canary"))
    assert "420" in phone.locator("table", has_text="Missing").first.inner_text()
    assert "Time left:" in phone.locator(".forecast").inner_text()
