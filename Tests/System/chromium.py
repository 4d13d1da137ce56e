"""Headless Chromium by the DevTools protocol, over the pipe that --remote-debugging-pipe reads and writes.

Python's standard library alone. https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import subprocess
import tempfile
import threading
import time


class Failed(AssertionError):
    """The browser refused, or what was waited for never came."""


class Browser:
    def __init__(self, program):
        self.directory = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        commands, self.commands = os.pipe()
        self.events, events = os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4.
        script = f'exec 3<&{commands} 4>&{events}; exec "$0" "$@"'
        options = [
            "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.directory.name}", "--disable-gpu",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb",
            "--font-render-hinting=none",
        ]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self.process = subprocess.Popen(
            ["bash", "-c", script, program, *options], pass_fds=(commands, events),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(events)
        self.number = 0
        self.answers = {}
        self.pages = {}
        self.arrived = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (Failed, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.commands)
        self.directory.cleanup()

    def _read(self):
        buffer = b""
        while chunk := os.read(self.events, 1 << 16):
            *messages, buffer = (buffer + chunk).split(b"\0")
            for message in map(json.loads, messages):
                with self.arrived:
                    if "id" in message:
                        self.answers[message["id"]] = message
                        self.arrived.notify_all()
                    elif page := self.pages.get(message.get("sessionId")):
                        page.note(message["method"], message["params"])

    def send(self, method, session=None, **parameters):
        """Asks for something, and returns the number under which the answer comes."""
        with self.arrived:
            self.number += 1
            number = self.number
            message = {"id": number, "method": method, "params": parameters}
            if session:
                message["sessionId"] = session
            data = memoryview(json.dumps(message).encode() + b"\0")
            # A pipe may take less than a large message at once.
            while data:
                data = data[os.write(self.commands, data):]
        return number

    def call(self, method, session=None, **parameters):
        number = self.send(method, session, **parameters)
        with self.arrived:
            if not self.arrived.wait_for(lambda: number in self.answers, 60):
                raise Failed(f"{method} wasn't answered")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']}")
        return answer["result"]

    def page(self, url, width=1280, height=900, scale=1, dark=False, downloads=None):
        """A page with cookies and storage of its own.

        downloads: the directory into which it saves files; without one it saves none.
        """
        context = self.call("Target.createBrowserContext")["browserContextId"]
        self.call("Browser.setDownloadBehavior", browserContextId=context,
                  **({"behavior": "allow", "downloadPath": downloads} if downloads else {"behavior": "deny"}))
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, context)
        self.pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.open(url)
        return page


class Page:
    KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), " ": (32, " ")}

    def __init__(self, browser, session, context):
        self.browser = browser
        self.session = session
        self.context = context
        self.errors = []
        self.requests = []
        # Method, part of the URL, what is done to it, and how often still.
        self.faults = []

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

    def note(self, method, parameters):
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif method == "Audits.issueAdded":
            self.errors.append(json.dumps(parameters["issue"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"] + parameters["request"].get("urlFragment", ""))
        elif method == "Fetch.requestPaused":
            self.interfere(parameters)

    # --- faults ------------------------------------------------------------------------------------------------------

    def lose(self, method, path, times=1):
        """Loses answers, once the service has given them."""
        self._fault(method, path, times, "lose")

    def answer(self, method, path, status, message, times=1, **headers):
        """Answers requests in the place of the service, which never sees them."""
        self._fault(method, path, times, (status, message, headers))

    def _fault(self, method, path, times, what):
        self.faults.append([method, path, times, what])
        self.call("Fetch.enable", patterns=[{"urlPattern": "*/api/*", "requestStage": stage} for stage in ("Request", "Response")])

    def interfere(self, paused):
        """Called by the reader of the pipe, so it may not wait for an answer."""
        request, is_answer = paused["request"], "responseStatusCode" in paused
        for fault in self.faults:
            method, path, times, what = fault
            if times == 0 or method != request["method"] or path not in request["url"]:
                continue
            # The first one that isn't used up comes first.
            if (what == "lose") != is_answer:
                break
            fault[2] -= 1
            if what == "lose":
                self.send("Fetch.failRequest", requestId=paused["requestId"], errorReason="ConnectionReset")
            else:
                status, message, headers = what
                body = json.dumps({"statusCode": status, "message": message, "error": ""}).encode()
                self.send("Fetch.fulfillRequest", requestId=paused["requestId"], responseCode=status,
                          responseHeaders=[{"name": name.replace("_", "-"), "value": str(value)} for name, value in headers.items()],
                          body=base64.b64encode(body).decode())
            return
        self.send("Fetch.continueRequest", requestId=paused["requestId"])

    def send(self, method, **parameters):
        return self.browser.send(method, self.session, **parameters)

    # --- what is on the page -----------------------------------------------------------------------------------------

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    def wait(self, expression, within=30):
        """Waits until an expression is true, and returns it."""
        deadline = time.monotonic() + within
        while True:
            try:
                if value := self.evaluate(expression):
                    return value
            except Failed:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                shown = self.evaluate("document.body.innerText")
                raise Failed(f"never true: {expression}\nerrors: {self.errors}\nthe page:\n{shown}")
            time.sleep(0.05)

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def wait_text(self, selector, text, within=30):
        self.wait(f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(text)})", within)

    def click(self, selector):
        """Clicks with the mouse, so only what can be seen and isn't covered."""
        place = self.wait(
            "(() => { const element = document.querySelector(%s);"
            " if (!element || element.disabled) return null;"
            " element.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const box = element.getBoundingClientRect();"
            " const x = box.x + box.width / 2, y = box.y + box.height / 2;"
            " const top = document.elementFromPoint(x, y);"
            " return top && (element.contains(top) || top.contains(element)) ? {x, y} : null; })()" % json.dumps(selector)
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def fill(self, selector, text):
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select?.()")
        self.call("Input.insertText", text=text)

    def choose_file(self, selector, path):
        """Gives a field for files one."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=[path], objectId=found["result"]["objectId"])

    def select(self, selector, value):
        """Chooses from a list, as a person does by keyboard."""
        self.evaluate("(() => { const list = document.querySelector(%s); list.value = %s;"
                      " list.dispatchEvent(new Event('input', {bubbles: true})); list.dispatchEvent(new Event('change', {bubbles: true})); })()"
                      % (json.dumps(selector), json.dumps(value)))

    def press(self, key, shift=False):
        code, text = self.KEYS.get(key) or (ord(key.upper()), key)
        event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def violations(self, axe, within=None, **options):
        """What axe-core finds wrong with the page as it is now, a line for each kind.

        It runs beside the page, whose policy lets no script in. A page of many thousand elements takes it long, which
        selectors of some parts, or options of `axe.run`, make short.
        """
        frame = self.call("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = self.call("Page.createIsolatedWorld", frameId=frame, worldName="axe")["executionContextId"]
        with open(axe) as file:
            self.call("Runtime.evaluate", expression=file.read(), contextId=world)
        context = json.dumps({"include": within}) if within else "document"
        result = self.call(
            "Runtime.evaluate", contextId=world, awaitPromise=True, returnByValue=True,
            expression=f"axe.run({context}, {json.dumps({'resultTypes': ['violations'], **options})})"
            ".then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes.map(({html, failureSummary}) =>"
            " `${html.slice(0, 200)} (${failureSummary.slice(0, 300)})`).join(' | ')}`))")
        if "exceptionDetails" in result:
            raise Failed(f"axe: {result['exceptionDetails']}")
        return result["result"]["value"]

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
