// Serves pages to one Chromium and tells what it sees. The first argument names Chromium and its environment, as JSON.
// Prints the URL that takes tasks: each is posted as JSON and answered with its result, and tasks may run in parallel.
// Ends with its standard input.

import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { availableParallelism, tmpdir } from "node:os";
import { json } from "node:stream/consumers";
import { chromium } from "playwright-core";
import { acts as webapp } from "./webapp.mjs";

const AXE = await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");
// Longer than a busy machine ever needs.
const PATIENCE = 300_000;
const SMALL = { width: 320, height: 640 };
const LARGE = { width: 1280, height: 800 };
const LEAVING = /<script>(HTMLFormElement|\(\(\)=>)[^<]*<\/script>/;
// Each request tells by this header which context of the browser it is from.
const CONTEXT = "x-context";

// What each context is served, and what it sent to clients and with its forms to the server.
const contexts = new Map();

async function listen(handler) {
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address().port;
}

const port = await listen(async (request, reply) => {
  const host = request.headers.host;
  if (request.url === "/favicon.ico") {
    reply.writeHead(404).end();
    return;
  }
  const { pages, leaves, framesAnswer, received } = contexts.get(request.headers[CONTEXT]);
  const page = pages.get(request.url);
  if (host.startsWith("localhost:") && page && request.method === "GET") {
    reply.writeHead(page.status, page.headers).end(leaves ? page.body : page.body.replace(LEAVING, ""));
    return;
  }
  let body = "";
  for await (const part of request) body += part;
  received.push({ method: request.method, url: `${host.replace(/^localhost:.*/, "localhost")}${request.url}`, body });
  const isFrame = /^(one|two)\.example/.test(host);
  if (framesAnswer || !isFrame) reply.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>x</title>");
});

const { program, environment } = JSON.parse(process.argv[2]);
const launched = {
  executablePath: program,
  timeout: PATIENCE,
  // Chromium's own sandbox needs rights that a test may not have. It sees only the pages of this test.
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--host-resolver-rules=MAP *.example 127.0.0.1:${port}`],
  env: { ...process.env, ...environment },
};
const browser = await chromium.launch(launched);

function patient(context) {
  context.setDefaultTimeout(PATIENCE);
  context.setDefaultNavigationTimeout(PATIENCE);
  return context;
}

/** A browser whose user blocks all cookies. Only a profile can say so. */
async function withoutCookies() {
  const profile = await mkdtemp(`${tmpdir()}/without-cookies-`);
  await mkdir(`${profile}/Default`);
  const blocked = { profile: { default_content_setting_values: { cookies: 2 } } };
  await writeFile(`${profile}/Default/Preferences`, JSON.stringify(blocked));
  const context = patient(await chromium.launchPersistentContext(profile, { ...launched, viewport: LARGE }));
  // The processes of the browser may still write for a moment.
  context.on("close", () => rm(profile, { recursive: true, force: true, maxRetries: 20 }));
  return context;
}

const newContext = async (options) => patient(await browser.newContext({ viewport: LARGE, ...options }));

/** Opens a context. Pages that must not leave by themselves stay, to be looked at. */
async function open(options, leaves = false) {
  const id = String(contexts.size);
  const served = { pages: new Map(), leaves, framesAnswer: true, received: [] };
  contexts.set(id, served);
  const context = await newContext({ extraHTTPHeaders: { [CONTEXT]: id }, ...options });
  return { context, served };
}

/** Opens a context with one page, which notes every complaint. */
async function openPage(options) {
  const { context, served } = await open(options);
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
  return { context, served, page, complaints };
}

// The tabs that no task uses, one for each core at first, and the tasks that wait for one.
const idle = await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, () => openPage()));
const waiting = [];

async function withTab(act) {
  const tab = idle.pop() ?? (await new Promise((resolve) => waiting.push(resolve)));
  try {
    return await act(tab);
  } finally {
    const next = waiting.shift();
    if (next) next(tab);
    else idle.push(tab);
  }
}

/** Shows each page of a task in a tab, and lets `act` look at it. Tasks share the tabs. */
function forEachPage({ pages }, act) {
  const lookAt = ({ name }) =>
    withTab(async (tab) => {
      tab.served.pages = byPath(pages);
      tab.complaints.length = 0;
      await tab.page.setViewportSize(SMALL);
      await show(tab, name);
      return act(tab, name);
    });
  return Promise.all(pages.map(lookAt));
}

const byPath = (pages) => new Map(pages.map((page) => [`/${page.name}`, page]));

/** Opens a page, and waits for its last element and for the focus, unless the page may have left already. */
async function show({ page, served }, name, scripted = true) {
  await page.goto(`http://localhost:${port}/${name}`, { waitUntil: "commit" });
  if (served.leaves && scripted && LEAVING.test(served.pages.get(`/${name}`).body)) return;
  await page.locator("footer a").last().waitFor();
  if (await page.locator("[autofocus]").count()) await page.locator("[autofocus]:focus").waitFor();
}

/** Looks at every page, in light and dark mode, on small and large screens. */
async function look(task) {
  await mkdir(task.screenshots, { recursive: true });
  return forEachPage(task, async ({ page, complaints }, name) => {
    const facts = { name, violations: [], incomplete: [], overflow: [] };
    facts.focus = await page.evaluate(() => {
      const element = document.activeElement;
      return element.getAttribute("role") ?? element.id ?? element.tagName;
    });
    await page.evaluate(AXE);
    for (const viewport of task.viewports === "all" ? [SMALL, LARGE] : [SMALL]) {
      await page.setViewportSize(viewport);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const view = `${colorScheme}-${viewport.width}`;
        const found = await page.evaluate(() => axe.run({ resultTypes: ["violations", "incomplete"] }));
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
    return facts;
  });
}

/** Only loads pages. */
function load(task) {
  return forEachPage(task, async ({ page, complaints }, name) => {
    const ran = await page.evaluate(() => "ran" in globalThis);
    return { name, complaints: [...complaints], ran };
  });
}

/** Uses the pages as a person does, by keyboard alone. Each act has a tab of its own. */
async function useForms(task, javaScriptEnabled) {
  const { context, served } = await open({ javaScriptEnabled }, true);
  served.pages = byPath(task.pages);
  const { received } = served;
  const results = {};
  async function tab(name, act) {
    const page = await context.newPage();
    await show({ page, served }, name, javaScriptEnabled);
    const result = await act(page, async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    });
    await page.close();
    return result;
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
    served.framesAnswer = answers;
    const start = received.length;
    results[answers ? "signedOut" : "signedOutWithoutAnswers"] = await tab("signed-out-frames-back", async (page) => {
      await until(start, isOf("one.example"));
      await until(start, isOf("two.example"));
      if (!javaScriptEnabled) await page.locator("#back").press("Enter");
      return until(start, isOf("app.example/signed-out"));
    });
  }
  await context.close();
  return results;
}

/** Pastes a password with the keys of the system. */
async function paste(task) {
  const tab = await openPage({ permissions: ["clipboard-read", "clipboard-write"] });
  const { context, page, served } = tab;
  served.pages = byPath(task.pages);
  await show(tab, "sign-in");
  await page.evaluate(() => navigator.clipboard.writeText("pasted password"));
  await page.locator("#password").focus();
  await page.keyboard.press("ControlOrMeta+V");
  const value = await page.locator("#password").inputValue();
  await context.close();
  return value;
}

/** Uses the forms, with and without JavaScript. */
async function use(task) {
  const [scripted, plain, pasted] = await Promise.all([useForms(task, true), useForms(task, false), paste(task)]);
  return { scripted, plain, pasted };
}

const acts = { look, load, use, ...webapp({ newContext, withoutCookies, axe: AXE }) };
const tasks = await listen(async (request, reply) => {
  try {
    const task = await json(request);
    const result = await acts[task.act](task);
    reply.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(result));
  } catch (error) {
    reply.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify(String(error.stack)));
  }
});
console.log(`http://127.0.0.1:${tasks}`);
process.stdin.resume();
await once(process.stdin, "end");
await browser.close();
process.exit();
