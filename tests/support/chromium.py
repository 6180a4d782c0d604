"""Pages in a headless Chromium, by its DevTools protocol over two pipes: no package and no port."""

import base64
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Python that becomes Chromium, with the pipes as the file descriptors that it reads and writes.
START = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 100) for one in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
PAPER = 794 - 2 * 53  # CSS pixels between the margins of A4

# What is wrong with the page, as sentences: what sticks out, what is cut off, what does not load.
FAULTS = """
(() => {
  const found = [], width = document.documentElement.clientWidth;
  const said = e => `<${e.tagName.toLowerCase()}> ${(e.alt || e.textContent || '').trim().slice(0, 40)}`;
  const whole = document.documentElement.scrollWidth;
  if (whole > width) found.push(`the page is ${whole} wide on ${width}`);
  for (const image of document.images) if (!image.complete || !image.naturalWidth) found.push(`not loaded: ${said(image)}`);
  for (const e of document.body.querySelectorAll('*')) {
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    if (!e.checkVisibility() || !box.width) continue;
    if (/hidden|clip/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 1) found.push(`cut at the side: ${said(e)}`);
    if (/hidden|clip/.test(style.overflowY) && e.scrollHeight > e.clientHeight + 1) found.push(`cut below: ${said(e)}`);
    if (style.textOverflow === 'ellipsis') found.push(`shortened: ${said(e)}`);
    const scrolls = e.closest('.wide');
    if ((box.right > width + 1 || box.left < -1) && !(scrolls && /auto|scroll/.test(getComputedStyle(scrolls).overflowX)))
      found.push(`sticks out at ${Math.round(box.right)} of ${width}: ${said(e)}`);
  }
  return found;
})()
"""


def path():
    """Of a Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def started(profile):
    """A `Browser` with an empty profile in a folder, which is closed at the end."""
    commands, replies = os.pipe(), os.pipe()
    command = [sys.executable, "-c", START, str(commands[0]), str(replies[1]), path(), *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        command, pass_fds=(commands[0], replies[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(commands[0]), os.close(replies[1])
    with os.fdopen(commands[1], "wb", 0) as write, os.fdopen(replies[0], "rb", 0) as read:
        try:
            yield Browser(write, read)
        finally:
            process.kill()
            process.wait()


class Browser:
    """One tab. `events` are what it has reported since the last `open`."""

    def __init__(self, write, read):
        self.write, self.read, self.buffer, self.count, self.events, self.session = write, read, b"", 0, [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters, **self.session}
        self.write.write(json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self.count:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def _next(self):
        while b"\0" not in self.buffer:
            part = self.read.read(1 << 20)
            assert part, "Chromium has ended"
            self.buffer += part
        reply, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(reply)

    def open(self, file, width=1280, *, dark=False, paper=False):
        """Loads a file into a window so many CSS pixels wide; on paper as it is printed."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=features)
        self.events.clear()
        self.call("Page.navigate", url=file.absolute().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def faults(self):
        return self.run(FAULTS)

    def complaints(self):
        """What was written to the console, and exceptions."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in methods]

    def requests(self):
        """The addresses that were asked for, the page's own first."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]

    def pdf(self):
        """The page on A4."""
        printed = self.call(
            "Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=False, printBackground=False
        )
        return base64.b64decode(printed["data"])
