"""The page: what it holds, that it is one file, and that a browser plays it without an error."""

import dataclasses
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parvideo.demo import page
from parvideo.demo.page_data import ClassClips, ClipTable, PageData, Showcase, StageState
from tests.demo.cases import HOSTILE, demo_page, moving_square, showcase


class _Elements(html.parser.HTMLParser):
    """Collects every start tag with its attributes, and complains about tags that do not nest."""

    void = frozenset({"meta", "link", "input", "wbr", "line", "polyline", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text() -> str:
    return page.render_page(demo_page())


@pytest.fixture(scope="module")
def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Elements()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser.found


def test_the_page_asks_for_nothing_outside_itself(text: str, elements: list) -> None:
    for tag, attributes in elements:
        assert tag not in {"iframe", "object", "embed", "base", "img"}
        for name in ("src", "href", "srcset", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"@import|url\(|https?://|fetch\(|XMLHttpRequest", text)


def test_user_text_is_shown_as_it_stands(text: str, elements: list) -> None:
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert len(scripts) == 2, "a class name opened an element"
    assert "alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;{{title}}&quot;" in text
    labels = [attributes["aria-label"] for tag, attributes in elements if tag == "canvas"]
    assert f"Real clip 1 of 2, class {HOSTILE}" in labels


def test_every_clip_and_order_has_a_labelled_canvas(elements: list) -> None:
    canvases = [attributes for tag, attributes in elements if tag == "canvas"]
    clips = [canvas for canvas in canvases if canvas.get("class") == "clip"]
    assert len(clips) == 5 * 4 * 2
    assert len(canvases) - len(clips) == 2
    assert all(canvas["role"] == "img" and canvas["aria-label"] for canvas in canvases)


def embedded(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def decoded(sprite: dict) -> np.ndarray:
    import base64
    import io

    image = Image.open(io.BytesIO(base64.b64decode(sprite["sheet"].partition(",")[2])))
    sheet = np.asarray(image.convert("RGB"))
    height, width, across = sprite["height"], sprite["width"], sprite["across"]
    return np.stack(
        [
            sheet[index // across * height :, index % across * width :][:height, :width]
            for index in range(sprite["frames"])
        ]
    )


@pytest.mark.parametrize("shape", [(9, 32, 32), (1, 7, 20), (17, 20, 7)])
def test_small_clips_are_embedded_exactly(shape: tuple[int, int, int]) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(page.encode_clip(clip)), clip)


def test_large_clips_are_embedded_nearly_and_the_page_says_so(text: str) -> None:
    clip = moving_square(0, frames=5, size=128)[0]
    assert np.abs(decoded(page.encode_clip(clip)).astype(int) - clip).mean() < 3
    data = demo_page()
    table = dataclasses.replace(data.clips, classes=[ClassClips("a", {"Real": clip[None]})])
    large = dataclasses.replace(data, clips=table)
    assert "compressed" in page.render_page(large)
    assert "compressed" not in text


def test_clips_and_orders_are_embedded_in_the_order_of_the_canvases(text: str) -> None:
    data, held = demo_page(), embedded(text)
    expected = [
        clip
        for entry in data.clips.classes
        for column in data.clips.columns
        for clip in entry.clips[column.name]
    ]
    for sprite, clip in zip(held["tables"]["clips"]["clips"], expected, strict=True):
        np.testing.assert_array_equal(decoded(sprite), clip)
    assert [order["steps"] for order in held["orders"]] == [192, 51]
    np.testing.assert_array_equal(
        np.reshape(held["orders"][1]["group"], held["orders"][1]["grid"]), data.generators[1].group
    )


def test_the_comparison_shows_every_figure(text: str) -> None:
    for figure in ("192", "51", "6.81 s for 16 clips", "212.4 ± 8.1", ">230.9<", "84%", "81%"):
        assert figure in text


def test_a_missing_column_shows_as_none() -> None:
    data = demo_page()
    entry = data.clips.classes[0]
    fewer = ClassClips(entry.name, {"Real": entry.clips["Real"]})
    table = dataclasses.replace(data.clips, classes=[fewer])
    rendered = page.render_page(dataclasses.replace(data, clips=table))
    assert rendered.count('<span class="none">') == 3
    assert len(embedded(rendered)["tables"]["clips"]["clips"]) == 2


def test_long_names_may_break_before_a_capital(text: str) -> None:
    assert '<div class="name" role="rowheader">Handstand<wbr>Pushups</div>' in text
    assert "Handstand<wbr>" not in text.replace(">Handstand<wbr>Pushups<", "")  # labels stay whole
    assert page.breakable("&lt;A&amp;B UCF") == "&lt;A&amp;B UCF"


def test_what_is_empty_is_left_out_and_what_runs_is_said() -> None:
    whole, early = demo_page(), ClipTable(demo_page().clips.columns, [], 8)
    stages = [
        StageState("videos <to> train on", "done", 12.3),
        StageState("training the tokenizer", "running"),
        StageState("generating clips", "to come"),
    ]
    begun = page.render_page(PageData(title="begun", summary="some", clips=early, stages=stages))
    for part in (
        "The order in which",
        "Orders compared",
        "Further measurements",
        "Training<",
        "To go on",
        "showcase",
    ):
        assert part not in begun.partition('<script type="application/json"')[0], part
    assert "videos &lt;to&gt; train on <span>done, 12 s</span>" in begun
    assert '<li class="running">training the tokenizer <span>running</span></li>' in begun
    assert '<li class="to-come">generating clips' in begun
    assert '<meta http-equiv="refresh"' in begun
    assert "<!--" not in begun
    assert "{{" not in begun.replace("{{title}}", "")
    done = page.render_page(dataclasses.replace(whole, stages=[StageState("all", "done", 1.0)]))
    assert "refresh" not in done
    assert done == page.render_page(whole)


def test_the_showcase_stands_beside_or_says_why_it_does_not() -> None:
    with_clips = page.render_page(dataclasses.replace(demo_page(), showcase=showcase()))
    held = embedded(with_clips)["tables"]["showcase"]
    assert held["fps"] == 12.5
    assert [sprite["frames"] for sprite in held["clips"]] == [17, 17]
    assert "310.0 ± 9.1" in with_clips
    without = page.render_page(
        dataclasses.replace(demo_page(), showcase=Showcase("No models came with this clone.", None, []))
    )
    assert "No models came with this clone." in without
    assert "showcase" not in embedded(without)["tables"]
    assert 'id="showcase-play"' not in without


def test_writing_replaces_the_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "out" / "page.html"
    page.write_page(target, demo_page())
    assert target.read_text(encoding="utf-8") == page.render_page(demo_page())
    assert [path.name for path in target.parent.iterdir()] == ["page.html"]


PROBE = """
<script>
window.seen = { errors: [], clips: [], orders: [] };
// Headless virtual time offers few pictures or none; a timer runs on that time and offers them steadily.
window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);
addEventListener("error", (event) => seen.errors.push(String(event.message || event.type)), true);
addEventListener("unhandledrejection", (event) => seen.errors.push(String(event.reason)));
const complain = console.error;
console.error = (...words) => { seen.errors.push(words.join(" ")); complain(...words); };
addEventListener("DOMContentLoaded", () => {
  const out = document.createElement("pre");
  out.id = "seen";
  document.body.append(out);
  const look = () => {
    document.querySelectorAll("canvas.clip").forEach((canvas, index) => {
      (seen.clips[index] ??= new Set()).add(canvas.toDataURL());
    });
    document.querySelectorAll(".order").forEach((order, index) => {
      (seen.orders[index] ??= new Set()).add(Number(order.querySelector(".step").textContent));
    });
  };
  const report = () => ({
    clips: seen.clips.map((frames) => frames.size), orders: seen.orders.map((steps) => Math.max(...steps)),
  });
  const walk = (slider) => {
    for (let value = 0; value <= Number(slider.max); value += 1) {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
      look();
    }
  };
  // Look until all have moved, or for long.
  let looks = 0;
  const moved = () => {
    const { clips, orders } = report();
    return clips.length > 0 && orders.length > 0 && Math.min(...clips) >= 3 && Math.min(...orders) >= 3;
  };
  const timer = setInterval(() => {
    look();
    looks += 1;
    if (!moved() && looks < 600) return;
    clearInterval(timer);
    const played = report();
    const play = document.getElementById("clips-play");
    const words = [play.textContent];
    play.click();
    words.push(play.textContent);
    document.querySelectorAll("input[id$=-frame]").forEach(walk);
    walk(document.getElementById("order-step"));
    out.textContent = JSON.stringify({ errors: seen.errors, words, played, walked: report() });
  }, 170);
});
</script>
"""


def browsed(folder: Path, text: str, *flags: str) -> dict:
    """What the probe saw in headless Chromium; virtual time lets 102 seconds pass in a few."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    target = folder / "page.html"
    target.write_text(text.replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
    quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    quiet += " --disable-background-networking --disable-component-update"
    ask = ["--virtual-time-budget=110000", "--dump-dom", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [chromium, *quiet.split(), *ask, *flags, target.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)
    assert found is not None, done.stderr[-2000:]
    return json.loads(found.group(1))


def test_a_browser_plays_the_page_without_an_error(tmp_path: Path) -> None:
    seen = browsed(tmp_path, page.render_page(dataclasses.replace(demo_page(), showcase=showcase())))
    assert seen["errors"] == []
    assert len(seen["played"]["clips"]) == 40 + 2
    assert min(seen["played"]["clips"]) >= 3, "some clip stood still while it should have played"
    assert min(seen["played"]["orders"]) >= 3, "some order stood still while it should have played"
    assert seen["words"] == ["Pause", "Play"]
    assert min(seen["walked"]["clips"]) >= 9, "some clip did not show each of its nine frames"
    assert seen["walked"]["orders"] == [192, 51], "some order did not run to its end"


def test_a_reader_who_wants_less_motion_starts_with_still_pictures(tmp_path: Path, text: str) -> None:
    seen = browsed(tmp_path, text, "--force-prefers-reduced-motion")
    assert seen["errors"] == []
    assert seen["words"] == ["Play", "Pause"]
    assert set(seen["played"]["orders"]) == {0}
    assert max(seen["played"]["clips"]) <= 2, "blank, then the first frame"
    assert min(seen["walked"]["clips"]) >= 9
