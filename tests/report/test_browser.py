"""The page in a real browser: its filters filter, its pictures load, it fits."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mmfrcnn.evaluation.ledger.fates import FATES
from tests.report.page import page_of, run_with_images

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='needs the browser Chromium')

# Shows the page in frames of two widths, uses it, and writes down what happened.
PROBE = """<!doctype html><body><pre id="result">nothing</pre><script>
const page = %s;
const out = {errors: []};
function frame(width, use) {
  return new Promise(resolve => {
    const one = document.createElement('iframe');
    one.style.cssText = `width:${width}px;height:900px;border:0`;
    one.srcdoc = page.replace('<head>', `<head><script>window.onerror = (text) =>
      parent.out.errors.push(text);<` + '/script>');
    one.onload = () => { use(one.contentWindow, one.contentDocument); resolve(); };
    document.body.append(one);
  });
}
function choose(d, w, id, value) {
  d.getElementById(id).value = value;
  d.getElementById(id).dispatchEvent(new w.Event('change'));
}
const left = d => [...d.getElementById('flow').rows].map(r => +r.cells[1].textContent);
// Width of the stream of objects that each step leaves, in hundredths.
const stream = d =>
  [...d.querySelectorAll("#flow rect")].map(r => +r.getAttribute("width"));
const figures = d => [...d.querySelectorAll('.gallery figure')];
const shown = d => figures(d).filter(f => !f.hidden).length;
function colour(text) {  // as red, green, blue, alpha
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return [r, g, b, a];
}
function behind(w, element) {  // what lies behind it, blended from white on
  let found = [255, 255, 255];
  const chain = [];
  for (let e = element; e; e = e.parentElement) chain.unshift(e);
  for (const e of chain) {
    const [r, g, b, a] = colour(w.getComputedStyle(e).backgroundColor);
    found = [r, g, b].map((c, i) => a * c + (1 - a) * found[i]);
  }
  return found;
}
const light = rgb => [.2126, .7152, .0722].reduce((sum, weight, i) => {
  const c = rgb[i] / 255;
  return sum + weight * (c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
}, 0);
function contrast(w, element) {  // WCAG 2.1
  const [a, b] = [colour(w.getComputedStyle(element).color), behind(w, element)]
    .map(light).sort((x, y) => y - x);
  return (a + .05) / (b + .05);
}
function use(name) {
  return (w, d) => {
    out[name] = {
      overflow: d.documentElement.scrollWidth - w.innerWidth,
      unloaded: [...d.images].filter(i => i.loading !== 'lazy' && !i.naturalWidth)
        .length,
      contrast: Math.min(...[...d.querySelectorAll('body *')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())
          && !['SCRIPT', 'OPTION'].includes(e.tagName)).map(e => contrast(w, e))),
      images: d.images.length, all: left(d), stream: stream(d), shownAll: shown(d),
    };
    choose(d, w, 'class', 'dog');
    out[name].dog = left(d);
    out[name].shownDog = shown(d);
    choose(d, w, 'class', '');
    choose(d, w, 'reason', 'suppressed_by_nms');
    out[name].shownSuppressed = shown(d);
    out[name].status = d.getElementById('shown').textContent;
    choose(d, w, 'reason', '');
    choose(d, w, 'size', 'large');
    out[name].large = left(d);
    choose(d, w, 'size', '');
    out[name].again = left(d);
    out[name].focus = [...d.querySelectorAll('a, select, summary, [tabindex]')]
      .every(e => e.tabIndex >= 0);
  };
}
(async () => {
  await frame(1280, use('wide'));
  await frame(390, use('narrow'));
  document.getElementById('result').textContent = JSON.stringify(out);
})();
</script></body>"""


def in_browser(page: str, folder: Path) -> dict:
    probe = folder / 'probe.html'
    text = json.dumps(page).replace('</', '<\\/')
    probe.write_text(PROBE.replace('%s', text), 'utf-8')
    done = subprocess.run(
        [
            *(str(CHROMIUM), '--headless', '--no-sandbox', '--disable-gpu'),
            *(f'--user-data-dir={folder / "profile"}', '--virtual-time-budget=20000'),
            *('--window-size=1400,1000', '--dump-dom', probe.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found and found[1] != 'nothing', done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_the_page_works(tmp_path):
    facts = run_with_images(tmp_path)
    columns, fates = facts.held_out.columns, facts.held_out.fates
    seen = in_browser(page_of(facts), tmp_path)
    assert seen['errors'] == []
    for name in ('wide', 'narrow'):
        one = seen[name]
        assert one['overflow'] <= 0 and one['unloaded'] == 0 and one['images'] > 15
        assert one['focus'] and one['contrast'] >= 4.5  # WCAG 2.1, level AA
        assert one['all'] == one['again']
        shares = [100 * left / one['all'][0] for left in one['all']]
        assert one['stream'] == pytest.approx(shares)
        for key, chosen in (
            ('all', columns.object_label >= 0),
            ('dog', columns.object_label == 1),
            ('large', columns.object_size == 'large'),
        ):
            assert one[key][0] == chosen.sum()
            assert one[key][-1] == (chosen & (fates == 'detected')).sum()
            assert sorted(one[key], reverse=True) == one[key]
        suppressed = set(columns.object_image[fates == 'suppressed_by_nms'].tolist())
        assert one['shownSuppressed'] == len(suppressed) < one['shownAll']
        assert one['status'].startswith(f'{len(suppressed)} of ')
        assert one['shownDog'] <= one['shownAll']
    assert set(fates) <= set(FATES)
