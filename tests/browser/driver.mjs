// Drives Chromium for the tests: reads a command a line as JSON, and answers each with a line. Knows nothing of the page itself.
//
//   node driver.mjs FOLDER CHROMIUM      FOLDER has node_modules
//
// Whatever goes wrong on a page is kept until it is asked for: errors in its console, exceptions, violations of its
// Content-Security-Policy, requests to any other origin, dialogs.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, chromium] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const driver = load("playwright-core").chromium;
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");
const browser = await driver.launch({
  executablePath: chromium,
  // The tests run as root, where Chromium has no sandbox.
  args: ["--no-sandbox", "--js-flags=--expose-gc"],
});

/** Characters of what a page says that are passed on. */
const MOST = 4000;
/** Seconds to wait for what a page is to show. */
const PATIENCE = 60;

/** By number: the page, its troubles, how many answers it waits for, and its DevTools session. */
const pages = [];

/** Kept by the page itself, since the console says less of a violation. */
function watchPolicy() {
  globalThis.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    globalThis.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
  });
}

const commands = {
  async open({ url, clock = false, credentials, permissions = [] }) {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      colorScheme: "light",
      timezoneId: "UTC",
      httpCredentials: credentials,
      permissions,
      // Tests sign their own certificates.
      ignoreHTTPSErrors: true,
    });
    const page = await context.newPage();
    const { origin } = new URL(url);
    const troubles = [];
    const answers = { open: 0 };
    page.on("console", (said) => {
      if (["error", "warning"].includes(said.type())) {
        troubles.push(`console: ${said.text().slice(0, MOST)} (${said.location().url.slice(0, 200)})`);
      }
    });
    page.on("pageerror", (error) => troubles.push(`exception: ${error.stack ?? error}`));
    page.on("dialog", (dialog) => {
      troubles.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    context.on("request", (request) => {
      answers.open += 1;
      const own = new URL(request.url()).origin === origin || /^(data|blob):/.test(request.url());
      if (!own) troubles.push(`request: ${request.url()}`);
    });
    context.on("requestfailed", () => (answers.open -= 1));
    context.on("requestfinished", () => (answers.open -= 1));
    await page.addInitScript(watchPolicy);
    if (clock) await page.clock.install();
    pages.push({ page, troubles, answers, session: await context.newCDPSession(page) });
    await page.goto(url, { waitUntil: "load" });
    return pages.length - 1;
  },

  async close({ page }) {
    await pages[page].page.context().close();
    return null;
  },

  async go({ page, url }) {
    await pages[page].page.goto(url, { waitUntil: "load" });
    return null;
  },

  async evaluate({ page, script }) {
    return (await pages[page].page.evaluate(script)) ?? null;
  },

  /** Waits until the script's value is true to JavaScript; that value, or what the page then shows as an error. */
  async until({ page, script }) {
    const end = Date.now() + PATIENCE * 1000;
    for (;;) {
      const value = await pages[page].page.evaluate(script);
      if (value) return value;
      if (Date.now() > end) {
        const text = await pages[page].page.evaluate("document.body.innerText");
        throw new Error(`not in ${PATIENCE} s: ${script}\n${pages[page].troubles.join("\n")}\n${text.slice(0, MOST)}`);
      }
      await new Promise((resume) => setTimeout(resume, 5));
    }
  },

  async press({ page, keys }) {
    for (const key of keys) await pages[page].page.keyboard.press(key);
    return null;
  },

  async resize({ page, width, height }) {
    await pages[page].page.setViewportSize({ width, height });
    return null;
  },

  async scheme({ page, scheme }) {
    await pages[page].page.emulateMedia({ colorScheme: scheme });
    return null;
  },

  async screenshot({ page, file }) {
    await pages[page].page.screenshot({ path: file, fullPage: true });
    return null;
  },

  /** Lets this many seconds of the page's own clock pass, one at a time; after each, whatever it asked for is answered. */
  async pass({ page, seconds }) {
    const { page: it, answers } = pages[page];
    for (let passed = 0; passed < seconds; passed += 1) {
      await it.clock.runFor(1000);
      while (answers.open > 0) await new Promise((resume) => setTimeout(resume, 1));
      // What is done with an answer comes after it.
      await it.evaluate("null");
    }
    return null;
  },

  /** Bytes of live objects of JavaScript, and the numbers of nodes and listeners. */
  async heap({ page }) {
    const { session } = pages[page];
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
    return { bytes: usedSize, nodes, listeners: jsEventListeners };
  },

  /** What breaks a criterion of WCAG 2.2, level A or AA: the rule, and where. */
  async axe({ page }) {
    const { page: it } = pages[page];
    await it.evaluate(axe);
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
    const { violations, passes } = await it.evaluate((values) => globalThis.axe.run(document, { runOnly: { type: "tag", values } }), tags);
    const said = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
    return { violations: said, passes: passes.map(({ id }) => id) };
  },

  /** All that went wrong since the last time. */
  async troubles({ page }) {
    const { page: it, troubles } = pages[page];
    const violations = await it.evaluate("globalThis.violations.splice(0)");
    return [...troubles.splice(0), ...violations.map((said) => `policy: ${said}`)];
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...options } = JSON.parse(line);
  const answer = await commands[command](options).then(
    (value) => ({ value }),
    (error) => ({ error: `${command}: ${error.message}` }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
