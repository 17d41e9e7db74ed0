"""The report's page in a real browser, opened from the disk as people do."""

import shutil

import numpy as np
import pytest

from hws_nnunet.gallery.page import Entry, write_page
from hws_nnunet.report import write_report
from tests.report.made import subgroups, v2_summary

pytestmark = pytest.mark.slow
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
OPTIONS += ("--disable-component-update", "--disable-sync")
CASES = ["<b>a & 名", *(f"case{i:02d}" for i in range(1, 24))]
RARE = set(CASES[:6])


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=180_000)
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on two folds, the second of which has a gallery of one case."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    one = rng.uniform(0.6, 0.9, (len(CASES), 3))
    two = one + 0.03
    two[:6, 2] -= 0.2
    folds = [folder / f"{name}__P__3d" / "fold_0" for name in ("plain", "hws")]
    for fold, dice in zip(folds, (one, two), strict=True):
        v2_summary(fold / "validation" / "summary.json", dice, cases=CASES, labels=("1", "2", "3"))
    gallery = folds[1] / "gallery_validation"
    gallery.mkdir()
    Image.new("RGB", (30, 20), "red").save(gallery / "01_a & b.png")
    entry = Entry(CASES[0], ("",), (), "01_a & b.png")
    (gallery / "index.html").write_text(write_page("Worst", "", [""], [entry], [], link='<p id="report"></p>'))
    groups = subgroups(folder / "s.csv", {case: "rare" if case in RARE else "common" for case in CASES})
    out = write_report({"plain": folds[0], "hws": folds[1]}, folder / "ü report", subgroups=groups)
    assert 'href="../../../%C3%BC%20report/report.html"' in (gallery / "index.html").read_text()
    return out / "report.html"


@pytest.fixture(scope="module")
def opened(browser, report):
    """The page, and what it complained of or asked the network for, to be empty to the end."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(120_000)  # of a busy machine
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto(report.as_uri())
    page.wait_for_selector(".plot .main-svg")
    return page, complaints


def table(page, title):
    return page.locator(f'.wide[aria-label="{title}"]')


def shown(rows, column):
    return [row.locator("td").nth(column).inner_text() for row in rows.locator("tbody tr:visible").all()]


def test_answers_and_their_picture_are_on_the_first_screen(opened):
    page, complaints = opened
    answer = page.locator(".answers article").first
    assert "Worst served: rare" in answer.inner_text()
    assert answer.bounding_box()["y"] + answer.bounding_box()["height"] < 900
    assert page.locator(".plot").first.bounding_box()["y"] < 700
    assert complaints == []


def test_tables_sort_by_mouse_and_keyboard_and_filter(opened):
    page, _ = opened
    fine = table(page, "Differences in mean Dice by label and subgroup, largest loss first")
    before = shown(fine, 0)
    assert (before[0], len(before)) == ("3", 6)
    means = fine.get_by_role("button", name="mean, hws")
    means.click()
    values = [float(text) for text in shown(fine, 5)]
    assert values == sorted(values)
    means.focus()
    page.keyboard.press("Enter")
    assert [float(text) for text in shown(fine, 5)] == values[::-1]
    assert fine.locator('th[aria-sort="descending"]').inner_text().startswith("mean, hws")
    words = fine.locator("xpath=preceding-sibling::input[1]")
    words.fill("Rare")
    assert shown(fine, 1) == ["rare"] * 3
    words.fill("")
    assert len(shown(fine, 0)) == 6


def test_sets_and_subgroups_can_be_hidden(opened):
    page, _ = opened
    average = table(page, "Dice, average of a case's labels")
    assert len(shown(average, 0)) == 6
    for name in ("plain", "rare"):
        page.get_by_role("checkbox", name=name, exact=True).uncheck()
    assert list(zip(shown(average, 0), shown(average, 1), strict=True)) == [("hws", "all cases"), ("hws", "common")]
    first = "document.querySelector('.plot').data.filter((trace) => trace.visible).map((trace) => trace.meta.join())"
    assert page.evaluate(first) == ["hws,common"]
    for name in ("plain", "rare"):
        page.get_by_role("checkbox", name=name, exact=True).check()
    assert len(page.evaluate(first)) == 2


def test_a_point_tells_its_case_and_leads_to_its_row_and_pictures(opened):
    page, complaints = opened
    figure = page.locator("figure:has(.plot)", has_text="Dice of each case, by subgroup")
    figure.scroll_into_view_if_needed()
    figure.locator(".trace.boxes .point").first.wait_for()
    points = "(figure) => [...figure.querySelectorAll('.trace.boxes .point')].find((point) => point.__data__.i === 0)"
    point = figure.evaluate_handle(points).as_element()  # the first case's
    box = point.bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*at)
    page.wait_for_selector(".hovertext")
    told = page.locator(".hovertext").first.text_content()
    assert CASES[0] in told
    assert "plain: 0." in told
    page.mouse.click(*at)
    cases = table(page, "Dice of every case and structure")
    assert list(zip(shown(cases, 0), shown(cases, 1), strict=True)) == [(CASES[0], "hws"), (CASES[0], "plain")]
    picture = page.locator("#pictures img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 30
    assert page.locator("#pictures a").get_attribute("href").endswith("gallery_validation/index.html#case1")
    page.get_by_role("button", name=CASES[7]).first.click()
    assert set(shown(cases, 0)) == {CASES[7]}
    assert page.locator("#pictures img").count() == 0
    assert complaints == []


def test_narrow_dark_and_printed(opened):
    page, complaints = opened
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    wide = table(page, "Dice, average of a case's labels")
    page.locator(".wide.cut").nth(3).wait_for()
    assert wide.evaluate("(element) => getComputedStyle(element, '::before').content").startswith('"scroll sideways')
    figure = page.locator("figure:has(.plot)").first
    figure.get_by_role("button", name="enlarge").click()
    assert figure.bounding_box() == {"x": 0, "y": 0, "width": 420, "height": 900}
    page.keyboard.press("Escape")
    assert figure.bounding_box()["width"] < 420
    light = page.evaluate("[getComputedStyle(document.body).backgroundColor, plots[0].layout.font.color]")
    page.emulate_media(color_scheme="dark")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it is told then
    dark = page.evaluate("[getComputedStyle(document.body).backgroundColor, plots[0].layout.font.color]")
    assert all(one != other for one, other in zip(light, dark, strict=True))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    printed = page.evaluate("[getComputedStyle(document.body).backgroundColor, plots[0].layout.font.color]")
    assert printed == light, "dark pages are printed light"
    assert page.locator("section:not(.cases) details:not([open])").count() == 0
    assert page.locator(".plot[data-drawn]").count() == page.locator(".plot").count()
    assert complaints == []


@pytest.fixture
def phone(browser):
    context = browser.new_context(viewport={"width": 420, "height": 900}, is_mobile=True, has_touch=True)
    yield context.new_page()
    context.close()


def test_nothing_lies_over_a_legend_on_a_phone(phone, report):
    phone.goto(report.as_uri())
    phone.locator(".plot .legend").first.wait_for()
    assert phone.locator(".modebar:visible").count() == 0


def test_the_gallery_on_a_phone(phone, tmp_path):
    """The page is as wide as the screen; names stay in one line, and what is wider scrolls by itself."""
    from PIL import Image

    Image.new("RGB", (1452, 1021), "red").save(tmp_path / "01.png")
    columns = ("hardness", "hardest structure", "drawn", "visits", "last epoch seen", "mean Dice", "subgroup")
    values = ("0.2211", "whole_tumor 0.228", "1.0x", "343", "6", "0.772", "SSA, subject BraTS-SSA-01002")
    entry = Entry("BraTS-SSA-01002-000", values, ("Slices through the middle.",), "01.png")
    what = "Dataset523_BraTS2023, HardnessWeightedTrainer__nnUNetPlans__3d_fullres, fold_0"
    page = write_page("Hardest", what, columns, [entry], ["How."], link="")
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    phone.goto((tmp_path / "index.html").as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") == 420
    rows = "[...document.querySelectorAll('tr')].map((row) => row.getBoundingClientRect().height)"
    assert max(phone.evaluate(rows)) < 40, "one line each"
    for part in ("table", "a:has(> img)"):
        wider = phone.locator(part).first.evaluate("(element) => element.scrollWidth - element.clientWidth")
        assert wider > 100, part
    assert phone.evaluate("getComputedStyle(document.querySelector('table'), '::before').content").startswith('"scroll')
