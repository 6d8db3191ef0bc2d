"""The page of ``vsr watch --serve``: what it shows, and to whom."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from synth import gradient_png

from pipelines.queue.job import Identity
from pipelines.queue.ledger import Ledger
from pipelines.watch.serve import Page
from vsr.errors import OutputError, UsageError

EVIL = "<img src=x onerror=alert(1)>.mp4"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """One file in each state, the first with pictures, one with an evil name."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.remember("source", "/films/in")
        ledger.remember("destination", "/films/out")
        for name in ("done.mp4", EVIL, "running.mp4"):
            ledger.add(name, Identity(1, 1), now=1.0)
        done, bad, running = ledger.jobs()
        ledger.done(done, Identity(2, 2), now=5.0)
        (tmp_path / "pictures").mkdir()
        for which in ("before", "after"):
            (tmp_path / "pictures" / f"1-{which}.jpg").write_bytes(gradient_png())
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "2.log").write_text("it broke")
        # A copy beside the quarantined file, which somebody has replaced.
        (tmp_path / "secret").write_text("of nobody's business")
        log = str(tmp_path / "bad.mp4.log")
        Path(log).symlink_to(tmp_path / "secret")
        ledger.set(bad, state="quarantined", reason="no video in it", log=log, attempts=3)
        ledger.set(running, state="running", frames=30, total=120, fps=2.5, eta=36.0)
        with Page(ledger, tmp_path, "127.0.0.1", 0) as served:
            yield served


def get(page: Page, path: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    address = urlsplit(page.url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host if host is not None else address.netloc)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_what_there_is(page: Page) -> None:
    status, body = get(page, "/queue.json")
    queue = json.loads(body)
    assert (status, queue["source"], queue["counts"]["done"]) == (200, "/films/in", 1)
    assert {job["path"]: (job["state"], job["pictures"], job["log"]) for job in queue["jobs"]} == {
        "done.mp4": ("done", True, False),
        EVIL: ("quarantined", False, True),
        "running.mp4": ("running", False, False),
    }
    assert get(page, "/jobs/1/before.jpg") == (200, gradient_png())
    assert get(page, "/jobs/2/log.txt") == (200, b"it broke")
    assert get(page, "/", method="HEAD") == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../ledger.sqlite",
        "/%2e%2e/ledger.sqlite",
        "/jobs/../../../etc/passwd",
        "/jobs/1/../../ledger.sqlite",
        "/jobs/1/before.jpg/../x",
        "/jobs/1%2f..%2f/before.jpg",
        "/jobs/-1/before.jpg",
        "/jobs/99999999999999999999/before.jpg",
        "/jobs/2/before.jpg",
        "/jobs/1/log.txt",
        "//etc/passwd",
        "/page/index.html",
        "/ledger.sqlite",
    ],
)
def test_nothing_else_is_served(page: Page, path: str) -> None:
    assert get(page, path)[0] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "", "127.0.0.1.evil.example"]
)
def test_other_names_are_refused(page: Page, host: str) -> None:
    assert get(page, "/queue.json", host=host)[0] == 421
    assert get(page, "/", host="localhost:1234")[0] == 200


def test_it_changes_nothing(page: Page) -> None:
    assert get(page, "/", method="POST")[0] == 501


def test_other_machines_are_served_only_on_demand(tmp_path: Path, page: Page) -> None:
    with Ledger(None) as ledger:
        with pytest.raises(UsageError, match="can be reached from other machines"):
            Page(ledger, tmp_path, "0.0.0.0", 0)
        with Page(ledger, tmp_path, "0.0.0.0", 0, anyone=True) as open_to_all:
            assert open_to_all.url.startswith("http://0.0.0.0:")
        port = urlsplit(page.url).port
        assert port is not None
        with pytest.raises(OutputError, match="cannot listen there"):
            Page(ledger, tmp_path, "127.0.0.1", port)


def test_the_page_in_a_browser(page: Page, browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page.url)
    WebDriverWait(browser, 20).until(lambda b: b.find_elements("css selector", "article.done"))
    found = {a.get_attribute("class"): a for a in browser.find_elements("css selector", "article")}
    assert set(found) == {"done", "quarantined", "running"}
    assert found["quarantined"].find_element("css selector", "h3").text.endswith(EVIL)
    assert "no video in it" in found["quarantined"].text
    assert "30 of 120 frames, 2.50 fps, 36 s left" in found["running"].text
    bar = found["running"].find_element("css selector", "progress")
    assert (bar.get_property("value"), bar.get_property("max")) == (30, 120)
    for which in ("before", "after"):
        picture = found["done"].find_element("css selector", f".{which} img")
        browser.execute_script("arguments[0].scrollIntoView()", picture)
        WebDriverWait(browser, 20).until(lambda _, p=picture: p.get_property("naturalWidth") == 32)
    log = found["quarantined"].find_element("css selector", "a")
    assert log.get_attribute("href").endswith("/jobs/2/log.txt")
