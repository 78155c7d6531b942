"""A person at a real browser: headless Chromium, driven as a person would, and watched for what must not happen."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.flows.stack import eventually

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
SHOTS = Path(__file__).resolve().parents[3] / "docs" / "screenshots"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-device-scale-factor=1",
    "--window-size=1440,1000", "--hide-scrollbars", "--no-default-browser-check", "--disable-default-apps",
)  # fmt: skip
MAX_PICTURE_HEIGHT = 2200
NAME, PASSWORD = "operator", "correct-horse-battery"


def missing() -> str:
    """Return which program the browser tests lack here, or nothing."""
    lacking = [name for name, path in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if path is None]
    return f"{' and '.join(lacking)} not found on this machine" if lacking else ""


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """Start Chromium with a fresh profile in the folder; end it afterwards."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=str(DRIVER), env={**os.environ, "HOME": str(folder)})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


class Browser:
    """One person's browser. `problems` are console errors, refusals by the policy, and requests to other hosts."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.expected: list[str] = []

    def open(self, path: str) -> None:
        """Go to a page of the site."""
        self.driver.get(self.url + path)

    def log_in(self, name: str = NAME, password: str = PASSWORD) -> None:
        """Fill in the log-in form, as a person does."""
        self.open("/admin/")
        self.fill("#id_username", name)
        self.fill("#id_password", password)
        self.driver.find_element(By.CSS_SELECTOR, "#id_password").send_keys(Keys.ENTER)
        self.until(lambda: "/login/" not in self.driver.current_url, what="the log-in")

    def find(self, selector: str) -> WebElement:
        """Return the first element that matches, when there is one."""
        return self.until(lambda: self.find_all(selector), what=selector)[0]

    def find_all(self, selector: str) -> list[WebElement]:
        """Return the elements that match now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def fill(self, selector: str, text: str) -> None:
        """Replace a field's text."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def click(self, selector: str) -> None:
        """Click an element."""
        self.find(selector).click()

    def press(self, text: str) -> None:
        """Click the button or link whose words are these."""

        def look() -> Any:
            for item in self.find_all("a, button, input[type=submit], summary"):
                with_words = item.text.strip() or item.get_attribute("value")
                if with_words == text and item.is_displayed():
                    return item
            return None

        self.until(look, what=f"a button or link {text!r}").click()

    def text(self, selector: str = "body") -> str:
        """Return the text that a reader sees in an element."""
        return str(self.find(selector).text)

    def until(self, check: Callable[[], Any], *, what: str = "", timeout_s: float = 30.0) -> Any:
        """Wait for something true; an element that is replaced meanwhile is looked for again."""

        def safely() -> Any:
            try:
                return check()
            except (StaleElementReferenceException, NoSuchElementException):
                return None

        return eventually(
            safely, timeout_s=timeout_s, what=lambda: f"{what} on {self.driver.current_url}: {self.told()}"
        )

    def told(self) -> str:
        """Return the page's words, for a failure's message."""
        body = self.driver.execute_script("return document.body ? document.body.innerText : ''")
        return re.sub(r"\s+", " ", str(body))[:1500]

    def until_text(self, words: str, selector: str = "body", *, timeout_s: float = 30.0) -> None:
        """Wait until an element shows the words."""
        self.until(lambda: words in self.text(selector), what=f"{words!r} in {selector}", timeout_s=timeout_s)

    def focused(self) -> WebElement:
        """Return the element that has the keyboard."""
        return self.driver.switch_to.active_element

    def outline(self) -> str:
        """Return how the element that has the keyboard is outlined: `none` is what nobody sees."""
        return str(self.focused().value_of_css_property("outline-style"))

    def theme(self, name: str) -> None:
        """Choose `light` or `dark` for this and later pages."""
        self.driver.execute_script(
            "localStorage.setItem('_x_adminTheme', JSON.stringify(arguments[0]))", name
        )
        self.driver.refresh()

    def shot(self, name: str) -> None:
        """Keep pictures of the page, light and dark; only `make screenshots` asks for them."""
        if os.environ.get("AUTOPACK_SCREENSHOTS") != "yes":
            return
        SHOTS.mkdir(parents=True, exist_ok=True)
        for theme in ("dark", "light"):
            self.theme(theme)
            self.until(lambda: self.driver.execute_script("return document.fonts.status") == "loaded")
            self._picture(SHOTS / f"{name}-{theme}.png")

    def _picture(self, path: Path) -> None:
        """Write the whole page as one picture, cut where it becomes too long to look at."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], MAX_PICTURE_HEIGHT),
            "scale": 1,
        }
        taken = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        path.write_bytes(base64.b64decode(taken["data"]))

    def look_back(self) -> None:
        """Read what the browser has noted since the last time."""
        for entry in self.driver.get_log("browser"):
            if entry["level"] in ("SEVERE", "WARNING") and not any(
                word in entry["message"] for word in self.expected
            ):
                self.problems.append(entry["message"])
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._note(message["params"]["request"]["url"])

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        self.requests.append(url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.url:
            self.problems.append(f"a request to {url}")
