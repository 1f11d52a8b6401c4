"""The page of verdicts in a real browser: it renders, fits every screen, unfolds, copies and filters, without an error."""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path

import pytest
from made_reports import claims, made, whole, written
from test_render import browse, refused

from derive.render.reports import html
from derive.verdicts.report import FileReport, Report

SCREENS = (380, 1280)

MEASURE = r"""
const seen = (element) => element.getBoundingClientRect();
const measure = (frame) => {
  const page = frame.contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll("main *")].filter((e) =>
    !e.closest(".formula, .raw") && (seen(e).right > root.clientWidth + 1 || seen(e).left < -1));
  return {
    overflow: root.scrollWidth - root.clientWidth,
    wide: wide.map((e) => e.outerHTML.slice(0, 200)),
    formulas: page.querySelectorAll(".formula .katex-display").length,
    text: page.querySelector("main").innerText,
  };
};
addEventListener("load", () => {
  const found = Object.fromEntries([...frames_].map((frame) => [frame.width, measure(frame)]));
  document.body.innerHTML = "";
  document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) }));
});
"""

USE = r"""
<script>
(async () => {
  const all = (query) => [...document.querySelectorAll(query)];
  const shown = () => all(".claim").filter((claim) => !claim.hidden).map((claim) => claim.dataset.category);
  const found = {};
  let copied = null;
  Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { copied = text; } } });
  found.open = all(".claim").filter((claim) => claim.querySelector("details[open]")).map((claim) => claim.id);
  found.buttons = all("button").filter((button) => button.disabled || button.hidden).length;
  found.summaries = all("details").filter((details) => !details.querySelector("summary").innerText.trim()).length;
  document.querySelector('[data-filter="unread"]').click();
  found.filtered = shown();
  location.hash = "#f1-2";
  await new Promise((done) => addEventListener("hashchange", () => setTimeout(done, 0), { once: true }));
  found.unfiltered = shown().length;
  const copy = document.querySelector("#f1-2 [data-copy]");
  copy.click();
  await new Promise((done) => setTimeout(done, 0));
  found.copied = copied;
  found.label = copy.textContent;
  dispatchEvent(new Event("beforeprint"));
  found.folded = all("details:not([open])").length;
  dispatchEvent(new Event("afterprint"));
  found.refolded = all("details:not([open])").length;
  document.body.innerHTML = "";
  document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) }));
})();
</script>
"""


def outcome(page: str, folder: Path) -> dict:
    """What the page's own script wrote down."""
    return json.loads(unescape(re.search(r'<pre id="found">(.*?)</pre>', browse(page, folder), re.S)[1]))


def frames(page: str) -> str:
    """The page at the width of every screen, and what measures it there."""
    screens = "".join(f'<iframe width="{width}" height="900" srcdoc="{escape(page)}"></iframe>' for width in SCREENS)
    begin = '<!DOCTYPE html><meta charset="utf-8"><body>'
    return f"{begin}{screens}<script>const frames_ = document.querySelectorAll('iframe');{MEASURE}</script>"


def long() -> Report:
    """Names and formulas without a blank at which to break them."""
    name = "a-rather-long-folder-name/" * 5 + "paper.md"
    claim = claims()[4]
    finding = made(claim, "unread", reason="x" * 300, caret="h" * 200 + "\n" + " " * 150 + "^")
    sum_of_many = made(claims()[1], "fails", reason="∂" * 200)
    return Report(
        (FileReport(name, ("a_system_of_a_long_name" * 4,), (finding, sum_of_many)), FileReport(name, trouble=name))
    )


@pytest.mark.parametrize("report", [whole(), long()], ids=["whole", "long"])
def test_the_page_fits_every_screen_and_renders_every_formula(report, tmp_path):
    page = html.render(report)
    for screen, found in outcome(frames(page), tmp_path).items():
        assert found["overflow"] <= 0 and found["wide"] == [], screen
        assert found["formulas"] == page.count('data-tex="display"') > 0
        assert "$" not in found["text"]


def test_no_formula_is_refused_and_no_message_stands_on_the_console(tmp_path):
    assert not refused(browse(html.render(whole()), tmp_path))


def test_what_can_be_pressed_does_what_it_says(tmp_path):
    page = html.render(whole())
    found = outcome(page.replace("</body>", f"{USE}</body>"), tmp_path)
    assert found["open"] == ["f1-2", "f1-9"]
    assert found["buttons"] == 0 and found["summaries"] == 0
    assert found["filtered"] == ["unread"] and found["unfiltered"] == len(whole().claims)
    assert found["copied"] == written(whole())[0]
    assert found["label"] == "Copied"
    assert found["folded"] == 0 < found["refolded"]
