"""The page of a finished run: seconds to build it, its bytes, and its longest task in Chromium.

    python benchmarks/page.py FOLDER [REPEATS]

FOLDER is that of a run (`hlm run nels-slopes`). Building starts from the run as it was read. The
page of nels-slopes should build in under 10 s, be under 5 MB, and open without a task over 200 ms.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from hlm_models.api.runs import load_run, write_report

OBSERVE = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration);
}).observe({ type: "longtask", buffered: true });
"""


def opened(browser: Browser, path: Path) -> tuple[float, float]:
    """Milliseconds until the page is loaded, and of the longest task (0: none above 50 ms)."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(OBSERVE)
    page.goto(path.as_uri())
    page.wait_for_timeout(1500)
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    longest = page.evaluate("window.longest")
    page.close()
    return loaded, longest


def main(folder: str, repeats: int = 5) -> None:
    found = load_run(folder)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "report.html"
        start = time.perf_counter()
        write_report(found, path)
        print(f"building   {time.perf_counter() - start:8.1f} s (under 10)")
        print(f"size       {path.stat().st_size / 1e6:8.2f} MB (under 5)")
        chromium = shutil.which("chromium") or "/usr/bin/chromium"
        with sync_playwright() as kit:
            browser = kit.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            times = [opened(browser, path) for _ in range(repeats)]
            browser.close()
    loaded, longest = zip(*times, strict=True)
    print(f"loaded     {statistics.median(loaded):8.0f} ms, median of {repeats}")
    print(f"long task  {max(longest):8.0f} ms, longest of {repeats} (under 200)")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
