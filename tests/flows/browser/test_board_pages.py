"""A person on call at the console: logs in, follows a run to its end, reads a patch, cancels a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from runs.models import Attempt, Phase, Run
from tests.flows.browser.a11y import faults
from tests.flows.browser.browser import Browser
from tests.flows.browser.conftest import Site
from tests.flows.stack import eventually
from tests.flows.world import PYTHON, World

# A gate that goes on when the test says so: it watches a file of the test's, which the sandbox shows it.
GATE = """
import time
print("=== collecting \\x1b[31mred\\x1b[0m <script>document.title = 'acted'</script>", flush=True)
for number in range(1200):
    if "GO" in open({signal!r}).read():
        break
    time.sleep(0.05)
print("all is well \\u202etxt.exe", flush=True)
"""
BUILDER = """
folder = pathlib.Path("src")
folder.mkdir(exist_ok=True)
(folder / f"{phase}.py").write_text(
    f"def work_of_{phase}(count: int) -> str:\\n"
    "    # Tell <b>what</b> was done \\u202eright to left\\n"
    "    return 'done ' * count\\n"
)
readme = pathlib.Path("README")
readme.write_text(readme.read_text().replace("a project", f"a project with {phase}"))
answer(status="success", tokens_used=1200, notes="wrote it <img src=x onerror=\\"document.title='acted'\\">")
"""


@pytest.fixture(scope="module", autouse=True)
def _workers(site: Site) -> None:
    site.stack.worker()
    site.stack.beat()


@pytest.fixture
def signal(world: World) -> Path:
    """The file that the gates of the test's project watch."""
    return Path(world.program("signal", "")[1])


def start(world: World, signal: Path) -> Run:
    program = world.folder / "gate.py"
    program.write_text(GATE.format(signal=str(signal)))
    world.agents["gate"] = program  # so that the sandbox shows it
    world.project(builder=BUILDER, gate=[{"name": "unit", "argv": [PYTHON, str(program)], "timeout_s": 90}])
    return world.start(world.plan("one", {"phase_id": "two", "name": "Second <b>phase</b>"}))


def release(signal: Path) -> None:
    with signal.open("a") as file:
        file.write("\n# GO\n")


def test_a_person_follows_a_run_from_the_board_to_its_end_without_a_reload(
    browser: Browser, world: World, signal: Path
) -> None:
    run = start(world, signal)
    browser.log_in()
    assert browser.text("h1") == "Run board"
    browser.until_text("ci running", "[data-live]")
    browser.shot("board")
    browser.press(run.pk)
    browser.until_text("ci running", "[data-live]")
    browser.driver.execute_script("window.untouched = true")
    release(signal)
    browser.until_text("may be promoted", "section[aria-labelledby=promotion] .good", timeout_s=60)
    assert browser.driver.execute_script("return window.untouched") is True
    assert not browser.find("[data-live-pause]").is_displayed()
    assert "Second <b>phase</b>" in browser.text()
    browser.shot("run")


def test_a_person_follows_the_log_of_a_gate_and_reads_the_patch(
    operator: Browser, world: World, signal: Path
) -> None:
    run = start(world, signal)
    browser = operator
    eventually(lambda: Phase.objects.filter(run=run, state="CI_RUNNING").exists(), timeout_s=60)
    browser.open(f"/admin/board/attempts/{Attempt.objects.get(run=run).pk}/")
    browser.until_text("collecting red <script>document.title = 'acted'</script>", ".log")
    assert "all is well" not in browser.text(".log")
    release(signal)
    browser.until_text("all is well \\u202etxt.exe", ".log")
    browser.until_text("The gate has ended", "[data-log-state]")
    changed = [browser.find_all(f".diff .{kind}.t")[0].text for kind in ("del", "add")]
    assert changed == ["removed:\na project", "added:\na project with one"]
    assert "# Tell <b>what</b> was done \\u202eright to left" in browser.text("main")
    assert "wrote it <img src=x onerror=" in browser.text(".notes")
    assert browser.driver.title == "Build 1 of one | Autopack"
    browser.shot("attempt")
    world.ended(run)


def test_a_person_cancels_a_run_and_reads_who_and_why(operator: Browser, world: World) -> None:
    world.project(builder=None, builders={"outside": {"kind": "pull"}})
    run = world.start(world.plan("one"))
    operator.open(f"/admin/board/runs/{run.pk}/")
    operator.press("Cancel run")
    operator.until_text("Cancelling ends it for good")
    operator.shot("cancel")
    operator.fill("#why", "the plan <i>was</i> wrong")
    operator.press("Cancel the run")
    operator.until_text(f"Run {run.pk} is cancelled")
    assert "by operator" in operator.text(".events")
    assert "the plan <i>was</i> wrong" in operator.text(".events")
    operator.open(f"/admin/board/runs/{run.pk}/cancel/")
    operator.fill("#why", "once more")
    operator.press("Cancel the run")
    operator.until_text("Not cancelled: Run", ".messages .error")


def test_every_page_is_reached_by_the_keyboard_and_can_be_read_in_light_and_dark(
    operator: Browser, world: World
) -> None:
    run = Run.objects.filter(state="DONE_SUCCESS").first()
    assert run is not None
    attempt = Attempt.objects.filter(run=run).first()
    assert attempt is not None
    of_run = f"/admin/board/runs/{run.pk}/"
    pages = [
        *(f"{of_run}{part}" for part in ("", "strategy/", "events/", "files/", "cancel/")),
        f"/admin/board/attempts/{attempt.pk}/?find=all",
        "/admin/board/trends/",
        "/admin/board/",
    ]
    for path in pages:
        operator.open(path)
        for theme in ("dark", "light"):
            operator.theme(theme)
            assert faults(operator.driver) == [], (path, theme)
    for name, path in (("trends", "/admin/board/trends/"), ("strategy", f"{of_run}strategy/")):
        operator.open(path)
        operator.shot(name)
    operator.open("/admin/board/")
    active = operator.driver.switch_to.active_element
    active.send_keys(Keys.TAB)
    assert operator.focused().text == "Skip to the content"
    assert operator.outline() == "solid"
    operator.focused().send_keys(Keys.ENTER)
    for _ in range(12):
        operator.focused().send_keys(Keys.TAB)
        if operator.focused().text == run.pk:
            break
    assert operator.outline() == "solid"
    operator.focused().send_keys(Keys.ENTER)
    operator.until_text(f"Run {run.pk}", "h1")


def test_the_admins_own_tables_are_drawn_within_their_policy(operator: Browser) -> None:
    operator.open("/admin/board/")
    links = [item.get_attribute("href") for item in operator.find_all(".side nav a")]
    assert len(links) > 15
    for link in [
        *links,
        f"{operator.url}/admin/runs/apitoken/add/",
        f"{operator.url}/admin/password_change/",
    ]:
        operator.driver.get(str(link))
        operator.look_back()
        assert operator.problems == [], link
