"""The ways that people go through the console, in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.console.conftest import DESKTOP, Served, log_in
from tests.console.stories import HOSTILE

PHASE = ".now-badges .badge >> nth=0"


def rollout(served: Served, name: str) -> str:
    return f"{served.url}/console/rollouts/{served.story.rollouts[name]}"


def test_a_command_is_confirmed_done_and_seen(page: Page, served: Served) -> None:
    page.get_by_role("link", name="Rollouts").first.click()
    page.goto(rollout(served, "canary"))
    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause the rollout of version 2?")
    expect(page.locator(".effects")).to_contain_text("1 % canary, 100 % shadow")
    page.get_by_label("Reason").fill(f"lunch {HOSTILE}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".note.good")).to_contain_text("It is paused.")
    expect(page.locator(PHASE)).to_have_text("paused")
    page.goto(f"{served.url}/console/audit?subject=rollouts/{served.story.rollouts['canary']}")
    entry = page.locator("tbody tr").first.inner_text()
    assert "operator-ops" in entry
    assert "rollout.pause" in entry
    assert "lunch <script>" in entry
    page.goto(rollout(served, "canary") + "/do/resume")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(PHASE)).to_have_text("canary")


def test_what_others_do_shows_without_a_reload(page: Page, served: Served) -> None:
    page.goto(rollout(served, "canary"))
    page.locator("#guards-table summary").click()
    page.evaluate("window.same = true")
    with served.client() as client:
        for command, phase in (("pause", "paused"), ("resume", "canary")):
            path = f"/v1/rollouts/{served.story.rollouts['canary']}/commands"
            client.post(path, json={"command": command, "reason": "from afar"}).raise_for_status()
            expect(page.locator(PHASE)).to_have_text(phase, timeout=20_000)
            expect(page.locator("#said")).to_contain_text(phase)
    assert page.evaluate("window.same")
    assert page.locator("#guards-table").get_attribute("open") is not None


def test_it_works_without_scripts(browser: Browser, served: Served) -> None:
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)  # type: ignore[arg-type]
    page = log_in(context, served, "operator")
    page.goto(rollout(served, "gate"))
    page.get_by_role("link", name="Abort").click()
    page.get_by_label("Reason").fill("it took too long")
    page.get_by_role("button", name="Abort").click()
    expect(page.locator(PHASE)).to_have_text("aborted")
    expect(page.locator(".stations [aria-current]")).to_contain_text("aborted")
    context.close()


def test_a_keyboard_is_enough(browser: Browser, served: Served) -> None:
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    page = log_in(context, served, "operator")
    page.goto(rollout(served, "paused"))
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the content"
    assert focused.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Resume":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/do/resume")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "reason":
            break
    page.keyboard.type("back from lunch")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(PHASE)).not_to_have_text("paused")
    context.close()


def test_a_viewer_is_told_why_a_button_is_not_for_them(browser: Browser, served: Served) -> None:
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    page = log_in(context, served, "viewer")
    page.goto(rollout(served, "canary"))
    button = page.get_by_role("button", name="Roll back")
    expect(button).to_be_disabled()
    described = button.get_attribute("aria-describedby")
    expect(page.locator(f"#{described}")).to_have_text("Roll back needs role operator; you are viewer.")
    answer = page.goto(rollout(served, "canary") + "/do/rollback")
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_role("heading", level=1)).to_have_text("You may not do this")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.goto(f"{served.url}/console/models")
    expect(page).to_have_url(re.compile(r"/console/login\?next=%2Fconsole%2Fmodels"))
    context.close()


def test_a_rollout_is_begun_and_weights_are_set(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/console/models/maps/versions/2")
    page.get_by_role("link", name="Roll out").click()
    expect(page.locator(".effects")).to_contain_text("It is compared with version 1")
    page.get_by_label("Reason").fill("fresher maps")
    page.get_by_role("button", name="Roll out").click()
    expect(page.locator(".note.good")).to_contain_text("The rollout was started.")
    page.goto(f"{served.url}/console/models/maps")
    page.get_by_label("click").fill("heavy")
    page.locator("#weights-reason").fill("more clicks")
    page.get_by_role("button", name="Set the weights").click()
    expect(page.locator("#problem")).to_contain_text("'heavy', which is no number")
    expect(page.locator("#problem")).to_be_focused()
    page.get_by_label("click").fill("1.5")
    page.locator("#weights-reason").fill("more clicks")
    page.get_by_role("button", name="Set the weights").click()
    expect(page.locator(".note.good")).to_contain_text("in force")
    with served.client() as client:
        assert client.get("/v1/models/maps/weights").json()["weights"] == {"click": 1.5}


def test_a_link_from_another_site_finds_who_is_logged_in(page: Page, served: Served) -> None:
    """The first request of such a link comes without the cookie, for that is SameSite=Strict."""
    other = served.url.replace("127.0.0.1", "localhost")
    target = rollout(served, "violated")
    page.route(f"{other}/chat", lambda route: route.fulfill(content_type="text/html", body=f"<a href='{target}'>x</a>"))
    page.goto(f"{other}/chat")
    page.get_by_role("link").click()
    expect(page.locator(PHASE)).to_have_text("rolled back")


def test_it_says_when_the_controller_does_not_answer(page: Page, served: Served) -> None:
    page.goto(rollout(served, "canary"))
    page.route("**/state?*", lambda route: route.abort())
    expect(page.locator("#offline")).to_contain_text("does not answer", timeout=20_000)
