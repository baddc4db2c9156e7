// Serves pages to Chromium and tells what it sees. Reads a task from standard input and prints the results as one line of
// JSON.

import { AxeBuilder } from "@axe-core/playwright";
import { mkdir } from "node:fs/promises";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { chromium } from "playwright-core";

// Longer than a busy machine ever needs.
const PATIENCE = 300_000;
const SMALL = { width: 320, height: 640 };
const LARGE = { width: 1280, height: 800 };

const task = await json(process.stdin);
const pages = new Map(task.pages.map((page) => [`/${page.name}`, page]));
// What the browser sent to clients, and with its forms to the server.
const received = [];
let framesAnswer = true;
// Whether pages may leave by themselves. Without these scripts they stay, to be looked at.
const leaves = task.act === "use";
const LEAVING = /<script>(HTMLFormElement|\(\(\)=>)[^<]*<\/script>/;

const server = createServer(async (request, reply) => {
  const host = request.headers.host;
  const page = pages.get(request.url);
  if (host.startsWith("localhost:") && page && request.method === "GET") {
    reply.writeHead(page.status, page.headers).end(leaves ? page.body : page.body.replace(LEAVING, ""));
    return;
  }
  if (request.url === "/favicon.ico") {
    reply.writeHead(404).end();
    return;
  }
  let body = "";
  for await (const part of request) body += part;
  received.push({ method: request.method, url: `${host.replace(/^localhost:.*/, "localhost")}${request.url}`, body });
  const isFrame = /^(one|two)\.example/.test(host);
  if (framesAnswer || !isFrame) reply.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>x</title>");
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const { port } = server.address();

const browser = await chromium.launch({
  executablePath: task.chromium,
  timeout: PATIENCE,
  // Chromium's own sandbox needs rights that a test may not have. It sees only the pages of this test.
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--host-resolver-rules=MAP *.example 127.0.0.1:${port}`],
  env: { ...process.env, ...task.environment },
});

async function open(options) {
  const context = await browser.newContext({ viewport: LARGE, ...options });
  context.setDefaultTimeout(PATIENCE);
  context.setDefaultNavigationTimeout(PATIENCE);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    // Chromium complains of every status of 400 or more.
    const isStatus = message.text().startsWith("Failed to load resource: the server responded with a status of");
    if (["error", "warning"].includes(message.type()) && !isStatus) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  return { context, page, complaints };
}

/** Opens a page, and waits for its last element and for the focus, unless the page may have left already. */
async function show(page, name, scripted = true) {
  await page.goto(`http://localhost:${port}/${name}`, { waitUntil: "commit" });
  if (leaves && scripted && LEAVING.test(pages.get(`/${name}`).body)) return;
  await page.locator("footer a").last().waitFor();
  if (await page.locator("[autofocus]").count()) await page.locator("[autofocus]:focus").waitFor();
}

/** Waits until a request was received, and returns all that came since `start`. */
async function until(start, matches) {
  const began = Date.now();
  while (!received.slice(start).some(matches)) {
    if (Date.now() - began > PATIENCE) throw new Error(`never received: ${JSON.stringify(received.slice(start))}`);
    await new Promise((done) => setTimeout(done, 20));
  }
  return received.slice(start);
}

/** Looks at every page, in light and dark mode, on small and large screens. */
async function look() {
  await mkdir(task.screenshots, { recursive: true });
  const { context, page, complaints } = await open();
  const seen = [];
  for (const { name } of task.pages) {
    complaints.length = 0;
    await page.setViewportSize(SMALL);
    await show(page, name);
    const focus = await page.evaluate(() => {
      const element = document.activeElement;
      return element.getAttribute("role") ?? element.id ?? element.tagName;
    });
    const facts = { name, focus, violations: [], incomplete: [], overflow: [] };
    for (const viewport of task.viewports === "all" ? [SMALL, LARGE] : [SMALL]) {
      await page.setViewportSize(viewport);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const view = `${colorScheme}-${viewport.width}`;
        const found = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
        for (const kind of ["violations", "incomplete"]) {
          for (const { id, nodes } of found[kind]) {
            for (const node of nodes) facts[kind].push(`${view}: ${id}: ${node.html}: ${node.failureSummary}`);
          }
        }
        const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        if (widths[0] > widths[1]) facts.overflow.push(`${view}: ${widths}`);
        await page.screenshot({ path: `${task.screenshots}/${name}-${view}.png`, fullPage: true });
      }
    }
    facts.complaints = [...complaints];
    seen.push(facts);
  }
  await context.close();
  return seen;
}

/** Only loads pages. */
async function load() {
  const { context, page, complaints } = await open();
  for (const { name } of task.pages) {
    await show(page, name);
  }
  const ran = await page.evaluate(() => "ran" in globalThis);
  await context.close();
  return { complaints, ran };
}

/** Uses the pages as a person does, by keyboard alone. Each act has a tab of its own. */
async function use(javaScriptEnabled) {
  const { context } = await open({ javaScriptEnabled });
  const results = {};
  async function tab(name, act) {
    const page = await context.newPage();
    await show(page, name, javaScriptEnabled);
    const result = await act(page, async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    });
    await page.close();
    return result;
  }
  const isPost = (request) => request.method === "POST";
  async function posted(name, act) {
    const start = received.length;
    return tab(name, async (page, press) => {
      await act(page, press);
      return (await until(start, isPost)).filter(isPost);
    });
  }
  results.signIn = await posted("sign-in", async (page, press) => {
    await page.keyboard.type("alice");
    await press("Tab");
    await page.keyboard.type("correct horse");
    await press("Tab", "Space", "Enter");
  });
  results.refuseSignIn = await posted("sign-in", (page, press) => press("Tab", "Tab", "Tab", "Tab", "Enter"));
  // After an error the message has the focus, and the next fields are those of the form.
  results.signInAfterError = await posted("sign-in-wrong", async (page, press) => {
    await press("Tab", "Tab");
    await page.keyboard.type("correct horse");
    await press("Enter");
  });
  results.allow = await posted("consent", (page) => page.locator("button").first().press("Enter"));
  results.deny = await posted("consent", (page) => page.locator("button").last().press("Enter"));
  results.enrol = await posted("enrolment", async (page, press) => {
    await page.keyboard.type("correct horse battery");
    await press("Tab");
    await page.keyboard.type("correct horse battery");
    await press("Enter");
  });
  results.signOut = await posted("confirm-sign-out", (page, press) => press("Tab", "Enter"));
  // With JavaScript the form sends itself.
  results.answer = await posted("answer", async (page, press) => {
    if (!javaScriptEnabled) await press("Enter");
  });
  const isOf = (start) => (request) => request.url.startsWith(start);
  for (const answers of [true, false]) {
    framesAnswer = answers;
    const start = received.length;
    results[answers ? "signedOut" : "signedOutWithoutAnswers"] = await tab("signed-out-frames-back", async (page) => {
      await until(start, isOf("one.example"));
      await until(start, isOf("two.example"));
      if (!javaScriptEnabled) await page.locator("#back").press("Enter");
      return until(start, isOf("app.example/signed-out"));
    });
  }
  framesAnswer = true;
  await context.close();
  return results;
}

/** Pastes a password with the keys of the system. */
async function paste() {
  const { context, page } = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  await show(page, "sign-in");
  await page.evaluate(() => navigator.clipboard.writeText("pasted password"));
  await page.locator("#password").focus();
  await page.keyboard.press("ControlOrMeta+V");
  const value = await page.locator("#password").inputValue();
  await context.close();
  return value;
}

const result = {
  look: () => look(),
  load: () => load(),
  use: async () => ({ scripted: await use(true), plain: await use(false), pasted: await paste() }),
};
console.log(JSON.stringify(await result[task.act]()));
await browser.close();
server.closeAllConnections();
server.close();
