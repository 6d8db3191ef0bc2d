"""The page in a browser: figures, slider, zoom, keys, and nothing from the network."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import console_errors, dark, open_file, requested
from PIL import Image
from report_factory import evaluation, stills

from pipelines.report import write_report

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

Browser = Any
HOSTILE = "<img src=x onerror=alert(1)>.mp4"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, evaluation(), stills())
    return path


def one(browser: Browser, css: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, css)


def text(browser: Browser, css: str) -> str:
    return " ".join(one(browser, css).text.split())


def pixel(browser: Browser, x: float, y: float) -> tuple[int, ...]:
    """The colour that is seen at this share of the first pane's width and height."""
    pane = one(browser, ".pane")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", pane)
    browser.execute_async_script(
        "const done = arguments[0];"
        "Promise.all([...document.images].map((i) => i.decode())).then("
        "() => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    picture = Image.open(io.BytesIO(pane.screenshot_as_png)).convert("RGB")
    return picture.getpixel((int(x * (picture.width - 1)), int(y * (picture.height - 1))))


def value(browser: Browser, candidate: str, metric: str, table: str = "#values") -> str:
    return text(browser, f"{table} [data-candidate={candidate}] [data-metric={metric}]")


def test_figures_are_text_and_nothing_comes_from_the_network(browser: Browser, page: Path) -> None:
    requested(browser)
    open_file(browser, page)
    assert browser.title == "city.mp4"
    assert value(browser, "fdiwn", "psnr_y", "#summary") == "31.10"
    assert value(browser, "bicubic", "psnr_y", "#summary") == "29.10 −2.00"
    assert value(browser, "fdiwn", "ssim_y", "#summary") == "0.9045"
    assert value(browser, "fdiwn", "time", "#summary") == "412.3"
    best = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#summary strong")]
    assert best == ["31.10", "0.9045"]
    assert "PSNR (Y) in dB" in text(browser, "#summary thead")
    assert text(browser, "#notes") == "VMAF was not measured."
    assert "SHA-256 0123abcd" in text(browser, "#settings")
    assert "10 frames · 0:00:00.360 from first to last" in text(browser, "#facts")
    assert f"{page.stat().st_size / 1000:.3g} kB in one file" in text(browser, "#facts")
    own = page.resolve().as_uri()
    assert {url.partition(":")[0] for url in requested(browser) if url != own} <= {"data"}


def test_the_worst_frame_is_marked_and_shown_first(browser: Browser, page: Path) -> None:
    open_file(browser, page)
    assert text(browser, "#which") == "Frame 3, 0:00:00.120"
    assert value(browser, "fdiwn", "psnr_y") == "25.13"
    assert value(browser, "bicubic", "ssim_y") == "0.8830"
    buttons = browser.find_elements(By.CSS_SELECTOR, "#worst button")
    assert buttons[0].get_attribute("data-frame") == "3"
    assert buttons[0].text.startswith("3: 25.13 dB")
    assert len(buttons) == 5
    assert "7" not in [button.get_attribute("data-frame") for button in buttons]  # no error
    marks = browser.find_elements(By.CSS_SELECTOR, '.curve[data-metric="psnr_y"] .mark')
    assert len(marks) == 5
    buttons[1].click()  # frame 6: no pictures of it, 8 and 3 have them
    assert text(browser, "#which") == "Frame 8, 0:00:00.320: the nearest to 6 with pictures"


def test_slider_compares_any_two_pictures(browser: Browser, page: Path) -> None:
    open_file(browser, page)
    divider = one(browser, ".divider")
    assert divider.get_attribute("aria-valuenow") == "50"
    assert pixel(browser, 0.25, 0.25) == (0, 200, 3)  # bicubic
    assert pixel(browser, 0.75, 0.25) == (0, 3, 200)  # fdiwn
    width = one(browser, ".pane").size["width"]
    ActionChains(browser).drag_and_drop_by_offset(divider, round(-0.4 * width), 0).perform()
    assert divider.get_attribute("aria-valuenow") == "10"
    assert pixel(browser, 0.25, 0.25) == (0, 3, 200)
    divider.send_keys("\ue010")  # End
    assert divider.get_attribute("aria-valuenow") == "100"
    assert pixel(browser, 0.75, 0.25) == (0, 200, 3)
    divider.send_keys("\ue012")  # arrow left moves the divider, not the frame
    assert divider.get_attribute("aria-valuenow") == "98"
    assert text(browser, "#which").startswith("Frame 3")
    one(browser, "#left option[value=source]").click()
    assert pixel(browser, 0.25, 0.25) == (200, 0, 3)
    one(browser, "#right option[value=truth]").click()
    one(browser, "#swap").click()
    assert pixel(browser, 0.25, 0.25) == (255, 255, 255)
    assert [e.text for e in browser.find_elements(By.CSS_SELECTOR, ".pane .name")] == [
        "Ground truth",
        "Source",
    ]


def test_keys_change_frame_pictures_and_zoom(browser: Browser, page: Path) -> None:
    open_file(browser, page)
    body = one(browser, "body")
    body.send_keys("\ue014")  # arrow right
    assert text(browser, "#which").startswith("Frame 8")
    assert value(browser, "fdiwn", "psnr_y") == "34.00"
    assert pixel(browser, 0.25, 0.25) == (0, 200, 8)
    body.send_keys("\ue012\ue012")  # arrow left, twice
    assert text(browser, "#which").startswith("Frame 0")
    assert not one(browser, "#previous").is_enabled()
    body.send_keys("b")
    assert one(browser, "#right").get_attribute("value") == "truth"
    body.send_keys("x")
    assert one(browser, "#left").get_attribute("value") == "truth"
    assert not one(browser, "#out").is_enabled()
    fit = int(one(browser, "#zoom").text.rstrip("%"))
    body.send_keys("++")
    assert int(one(browser, "#zoom").text.rstrip("%")) == pytest.approx(2 * fit, abs=1)
    body.send_keys("0")
    assert int(one(browser, "#zoom").text.rstrip("%")) == fit


def test_all_panes_show_the_same_part(browser: Browser, page: Path) -> None:
    open_file(browser, page)
    one(browser, "input[name=view][value=grid]").click()
    panes = browser.find_elements(By.CSS_SELECTOR, ".pane")
    assert [pane.text for pane in panes] == ["Source", "Bicubic", "FDIWN x2", "Ground truth"]
    one(browser, "body").send_keys("+++")
    ActionChains(browser).drag_and_drop_by_offset(panes[1], 31, -17).perform()
    placed = browser.execute_script(
        "return [...document.querySelectorAll('.pane img')].map((i) =>"
        " ['left', 'top', 'width', 'height'].map((key) => parseFloat(i.style[key])))"
    )
    assert len(placed) == 4
    assert all(place == placed[0] for place in placed)
    left, top, width, height = placed[0]
    pane = panes[0].size
    assert left == pytest.approx((pane["width"] - width) / 2 + 31, abs=0.6)
    assert top == pytest.approx((pane["height"] - height) / 2 - 17, abs=0.6)


def test_curves_read_values_by_pointer_and_keys(browser: Browser, page: Path) -> None:
    open_file(browser, page)
    curve = one(browser, '.curve[data-metric="psnr_y"] svg')
    assert "FDIWN x2: 25.13 to 34.00 dB" in curve.get_attribute("aria-label")
    curve.send_keys("\ue010")  # End
    tip = '.curve[data-metric="psnr_y"] .tip'
    assert text(browser, tip) == "Frame 9, 0:00:00.360 FDIWN x2 30.50 dB Bicubic 28.50 dB"
    curve.send_keys("\ue012\ue012")
    assert text(browser, tip) == "Frame 7, 0:00:00.280 FDIWN x2 ∞ dB Bicubic ∞ dB"
    curve.send_keys("\ue011\ue007")  # Home, Enter
    assert text(browser, "#which") == "Frame 0, 0:00:00.000"
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", curve)
    box = curve.rect
    right = 52 + (box["width"] - 68) * 8 / 9 - box["width"] / 2
    ActionChains(browser).move_to_element_with_offset(curve, round(right), 0).perform()
    assert text(browser, tip).startswith("Frame 8, 0:00:00.320 FDIWN x2 34.00 dB")
    ActionChains(browser).click().perform()
    assert text(browser, "#which") == "Frame 8, 0:00:00.320"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 500])
def test_nothing_runs_over_the_edge(browser: Browser, page: Path, scheme: str, width: int) -> None:
    if scheme == "dark":
        dark(browser)
    browser.set_window_size(width, 900)
    open_file(browser, page)
    wide = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide[0] <= wide[1]
    ink, paper = browser.execute_script(
        "const style = getComputedStyle(document.body);"
        "return [style.color, style.backgroundColor].map((c) =>"
        " c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0))"
    )
    assert (ink > paper) == (scheme == "dark")
    assert abs(ink - paper) > 500


def test_names_of_files_are_only_text(browser: Browser, tmp_path: Path) -> None:
    base = evaluation(
        title=HOSTILE, settings=((HOSTILE, "</script><script>alert(2)</script>"),), notes=(HOSTILE,)
    )
    first = replace(base.candidates[0], name='a"><b>', label=HOSTILE)
    frames = tuple(replace(frame, label=f"</script>{HOSTILE}") for frame in first.frames)
    first = replace(first, frames=frames)
    still = replace(stills([3])[0], label=f"</script>{HOSTILE}")
    still = replace(still, pictures=tuple(replace(p, label=HOSTILE) for p in still.pictures))
    path = tmp_path / "hostile.html"
    write_report(path, replace(base, kind="images", candidates=(first,)), [still])
    open_file(browser, path)
    assert browser.title == HOSTILE
    assert one(browser, "h1").text == HOSTILE
    assert text(browser, "#settings dd") == "</script><script>alert(2)</script>"
    assert HOSTILE in text(browser, "#summary")
    assert HOSTILE in text(browser, "#values")
    assert text(browser, ".pane .name") == HOSTILE
    assert one(browser, "#left option").text == HOSTILE
    assert not browser.find_elements(By.CSS_SELECTOR, 'img[src="x"]')
    one(browser, '.curve[data-metric="psnr_y"] svg').send_keys("\ue010")
    assert HOSTILE in text(browser, ".tip")
    assert console_errors(browser) == []


def test_page_without_scores_or_without_pictures(browser: Browser, tmp_path: Path) -> None:
    base = evaluation()
    bare = replace(base, candidates=tuple(replace(c, frames=()) for c in base.candidates))
    write_report(tmp_path / "bare.html", bare, stills())
    open_file(browser, tmp_path / "bare.html")
    assert text(browser, "#which") == "Frame 0, 0:00:01.000"  # from 0, as no frame has scores
    assert not one(browser, "#course").is_displayed()
    assert not one(browser, "#values").is_displayed()
    write_report(tmp_path / "blind.html", base, [])
    open_file(browser, tmp_path / "blind.html")
    assert not one(browser, "#look").is_displayed()
    assert len(browser.find_elements(By.CSS_SELECTOR, ".curve .line")) == 4
    one(browser, "#worst button").click()
    assert console_errors(browser) == []
