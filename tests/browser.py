"""A headless Chromium for tests of pages, driven by Selenium.

A test that takes the ``browser`` fixture gets a Selenium ``WebDriver`` with an empty page and is
marked ``browser``. It is skipped with a reason where Chromium, its driver or Selenium is missing;
with ``VSR_REQUIRE=browser`` it fails there. When a test has ended and the page logged an error (a
broken script, a refused request) that the test did not take from the log, that is a failure.

The browser reaches this machine only: no other host's name is resolved.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["browser", "chromium", "console_errors", "dark", "open_file", "requested"]

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

_FLAGS = (
    "--headless",
    "--no-sandbox",  # has none for root, and pages under test are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have 64 MB of it
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--force-color-profile=srgb",
    "--window-size=1280,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One Chromium for the whole run; tests take ``browser`` instead."""
    program = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        _lacking("chromium and chromedriver are not both on the PATH")
    try:
        from selenium import webdriver
    except ImportError:
        _lacking("selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(program)
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # A named driver, or Selenium would look for one in the network.
    service = webdriver.ChromeService(executable_path=str(driver))
    opened = webdriver.Chrome(options=options, service=service)
    opened.set_page_load_timeout(60)
    opened.set_script_timeout(30)
    yield opened
    opened.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """Chromium with an empty page, 1280x900, light, and empty logs."""
    chromium.set_window_size(1280, 900)
    chromium.get("about:blank")
    _color_scheme(chromium, "light")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    yield chromium
    errors = console_errors(chromium)
    chromium.get("about:blank")
    assert not errors, errors


def console_errors(browser: Chrome) -> list[str]:
    """What the page logged as errors since the last call."""
    entries = browser.get_log("browser")
    return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


def requested(browser: Chrome) -> list[str]:
    """URLs that the page asked for since the last call, the page itself included."""
    events = browser.get_log("performance")
    messages: list[dict[str, Any]] = [json.loads(event["message"])["message"] for event in events]
    sent = (m for m in messages if m["method"] == "Network.requestWillBeSent")
    return [message["params"]["request"]["url"] for message in sent]


def dark(browser: Chrome) -> None:
    """From now on the page is told that the person prefers dark."""
    _color_scheme(browser, "dark")


def open_file(browser: Chrome, path: Path) -> None:
    """Open a file from the disk, as a double click does."""
    browser.get(path.resolve().as_uri())


def _color_scheme(browser: Chrome, value: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": value}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def _lacking(reason: str) -> NoReturn:
    if "browser" in os.environ.get("VSR_REQUIRE", "").split(","):
        pytest.fail(f"VSR_REQUIRE=browser, but {reason}")
    pytest.skip(f"{reason} (VSR_REQUIRE=browser to insist)")
