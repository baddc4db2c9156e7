// Uses examples/webapp as people do, and tells what they see. Each act has a browser context of its own.

import { mkdir, rename, writeFile } from "node:fs/promises";

// More than any page has.
const MAX_TABS = 40;
const TOKEN = /eyJ[\w-]+\.[\w-]+\.[\w-]+/;

/** A person at a browser, who uses only the keyboard. */
class Person {
  constructor(tools, task, context, page) {
    Object.assign(this, { tools, task, context, page, seen: [], faults: [] });
    page.on("pageerror", (error) => this.faults.push(String(error)));
  }

  static async open(tools, task, options = {}) {
    const context = await tools.newContext({ ...options, ...task.options });
    return new Person(tools, task, context, await context.newPage());
  }

  /** Opens another tab of the same browser. */
  async another() {
    return Object.assign(new Person(this.tools, this.task, this.context, await this.context.newPage()), {
      seen: this.seen,
      faults: this.faults,
    });
  }

  go(url) {
    return this.page.goto(url);
  }

  /** Waits for a page with this heading, and judges it. `alert` is a part of the message that the page must have. */
  async sees(heading, alert = "") {
    const { page } = this;
    await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
    if (alert) await page.getByRole("alert").filter({ hasText: alert }).waitFor();
    await page.waitForLoadState();
    await this.judge(heading);
  }

  async judge(heading) {
    const { page, faults } = this;
    this.seen.push(heading);
    // axe needs JavaScript. The pages are the same with it.
    if (this.task.options.javaScriptEnabled !== false) {
      await page.evaluate(this.tools.axe);
      const found = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
      for (const { id, nodes } of found.violations) faults.push(`${heading}: ${id}: ${nodes[0].html}`);
    }
    if (TOKEN.test(await page.content())) faults.push(`${heading}: shows a token`);
    const name = `${String(this.seen.length).padStart(2, "0")}-${heading.replace(/\W+/g, "-")}`;
    await mkdir(this.task.screenshots, { recursive: true });
    await page.screenshot({ path: `${this.task.screenshots}/${name}.png`, fullPage: true });
  }

  async reach(element) {
    const focused = element.and(this.page.locator(":focus"));
    for (let count = 0; count < MAX_TABS; count += 1) {
      if (await focused.count()) return;
      await this.page.keyboard.press("Tab");
    }
    throw new Error(`${await this.page.title()}: the Tab key never reaches ${element}`);
  }

  /** Follows a button or a link that looks like one. */
  async presses(name) {
    const { page } = this;
    await this.reach(page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true })));
    await page.keyboard.press("Enter");
  }

  async types(label, text) {
    await this.reach(this.page.getByLabel(label, { exact: true }));
    await this.page.keyboard.type(text);
  }

  async setsPassword() {
    await this.types("New password", this.task.password);
    await this.types("New password again", this.task.password);
    await this.presses("Set the password");
    await this.sees("The password is set");
  }

  async givesPassword(password = this.task.password) {
    await this.types("Username or email address", "alice");
    await this.types("Password", password);
    await this.presses("Sign in");
  }

  /** Goes from the application to the sign-in page. */
  async begins() {
    await this.go(this.task.app);
    await this.sees("Welcome");
    await this.presses("Sign in");
    await this.sees("Sign in");
  }

  async allows() {
    await this.sees("Allow Demo app to use your account?");
    await this.presses("Allow");
  }

  /** Enrols, and signs in to the application for the first time. */
  async arrives() {
    await this.go(this.task.link);
    await this.sees("Set a password");
    await this.setsPassword();
    await this.begins();
    await this.givesPassword();
    await this.allows();
    await this.sees("Hello, Alice Adams");
  }

  /** The claims in a table of the application. */
  async claims(table) {
    const rows = await this.page.locator(`table[aria-labelledby=${table}] tr`).allInnerTexts();
    return Object.fromEntries(rows.map((row) => row.split("\t")));
  }

  async told(facts = {}) {
    const { seen, faults } = this;
    const url = this.page.url();
    await this.context.close();
    return { ...facts, seen, faults, url };
  }
}

/** Lets this much time pass for the issuer since the act began. */
async function passes(task, time) {
  // The issuer never reads half a file.
  await writeFile(`${task.clock}.new`, time);
  await rename(`${task.clock}.new`, task.clock);
}

/** The acts. `tools` has `newContext`, `withoutCookies` and the text of axe. */
export function acts(tools) {
  return {
    async newcomer(task) {
      const person = await Person.open(tools, task);
      await person.arrives();
      const facts = { idToken: await person.claims("id-token"), accessToken: await person.claims("access-token") };
      await person.presses("Refresh the tokens");
      const before = person.page.getByRole("cell", { name: facts.accessToken.jti, exact: true });
      await before.waitFor({ state: "detached" });
      await person.sees("Hello, Alice Adams");
      facts.refreshed = await person.claims("access-token");
      await person.presses("Sign out");
      await person.sees("You are signed out");
      facts.signedOutAt = person.page.url();
      // The application shows nothing of before, and the issuer asks for the password again, but not for consent.
      await person.page.goBack();
      await person.sees("Welcome");
      await person.presses("Sign in");
      await person.sees("Sign in");
      await person.givesPassword();
      await person.sees("Hello, Alice Adams");
      return person.told(facts);
    },

    async linkTwice(task) {
      const person = await Person.open(tools, task);
      await person.arrives();
      await person.go(task.link);
      await person.sees("This link was used");
      await person.presses("Sign in");
      await person.sees("You are signed in");
      return person.told();
    },

    async mistakes(task) {
      const person = await Person.open(tools, task);
      await person.go(task.link);
      await person.types("New password", "short");
      await person.types("New password again", "short");
      // The browser itself refuses a short password. A person who gets past it is told by the server.
      await person.page.locator("form").evaluate((form) => form.submit());
      await person.sees("Set a password", "too short");
      await person.setsPassword();
      await person.begins();
      await person.givesPassword("not her password");
      await person.sees("Sign in", "The username or the password is wrong.");
      await person.types("Password", task.password);
      await person.presses("Sign in");
      await person.sees("Allow Demo app to use your account?");
      await person.presses("Deny");
      await person.sees("You did not sign in");
      await person.presses("Sign in");
      await person.allows();
      await person.sees("Hello, Alice Adams");
      return person.told();
    },

    async goesBack(task) {
      const person = await Person.open(tools, task);
      await person.arrives();
      await person.page.goBack();
      await person.sees("You are signed in already");
      await person.page.goBack();
      await person.sees("You are signed in already");
      await person.presses("Continue");
      await person.sees("Hello, Alice Adams");
      return person.told();
    },

    async sendsTwice(task) {
      // The policy of the pages allows no form that a test adds.
      const person = await Person.open(tools, task, { bypassCSP: true });
      await person.go(task.link);
      await person.page.getByLabel("New password", { exact: true }).fill(task.password);
      await person.page.getByLabel("New password again", { exact: true }).fill(task.password);
      const form = await Copy.of(person.page);
      await person.presses("Set the password");
      await person.sees("The password is set");
      await form.send(person.page);
      await person.sees("This link was used");
      await person.begins();
      await person.page.getByLabel("Username or email address").fill("alice");
      await person.page.getByLabel("Password", { exact: true }).fill(task.password);
      const signIn = await Copy.of(person.page);
      await person.presses("Sign in");
      await person.sees("Allow Demo app to use your account?");
      const consent = await Copy.of(person.page);
      await signIn.send(person.page);
      await person.sees("You are signed in already");
      await person.presses("Continue");
      await person.allows();
      await person.sees("Hello, Alice Adams");
      await person.page.goBack();
      await person.sees("You are signed in already");
      // The issuer gives a second code for the same request. The application knows that it has been answered.
      await consent.send(person.page);
      await person.sees("Hello, Alice Adams");
      return person.told();
    },

    async twoTabs(task) {
      const first = await Person.open(tools, task);
      await first.go(task.link);
      await first.sees("Set a password");
      await first.setsPassword();
      await first.begins();
      const second = await first.another();
      await second.begins();
      await first.givesPassword();
      await first.allows();
      await first.sees("Hello, Alice Adams");
      // The form of the second tab was made before the sign-in of the first.
      await second.givesPassword();
      await second.sees("You are signed in already");
      await second.presses("Continue");
      await second.sees("Hello, Alice Adams");
      await first.presses("Sign out");
      await first.sees("You are signed out");
      await second.presses("Refresh the tokens");
      return second.told({ afterSignOut: await second.page.getByRole("heading", { level: 1 }).textContent() });
    },

    async withoutCookies(task) {
      const context = await tools.withoutCookies();
      const person = new Person(tools, task, context, await context.newPage());
      await person.go(task.link);
      await person.sees("Set a password");
      await person.types("New password", task.password);
      await person.types("New password again", task.password);
      await person.presses("Set the password");
      await person.sees("Your browser sent no cookie");
      await person.presses("Try again");
      await person.sees("Set a password");
      await person.go(task.app);
      await person.presses("Sign in");
      await person.sees("Your browser sent no cookie");
      await person.presses("Sign in");
      await person.sees("Sign in");
      return person.told();
    },

    async tooLate(task) {
      const person = await Person.open(tools, task);
      await person.go(task.link);
      await person.sees("Set a password");
      await person.setsPassword();
      await person.begins();
      await passes(task, "+11m");
      await person.givesPassword();
      await person.sees("This sign-in has expired");
      await person.presses("Start again");
      await person.sees("Sign in");
      await person.givesPassword();
      await person.sees("Allow Demo app to use your account?");
      await passes(task, "+22m");
      await person.presses("Allow");
      await person.sees("This sign-in has expired");
      await person.presses("Start again");
      await person.allows();
      await person.sees("Hello, Alice Adams");
      return person.told();
    },

    async tooLateToEnrol(task) {
      const person = await Person.open(tools, task);
      await passes(task, "+80h");
      await person.go(task.link);
      await person.sees("This link has expired");
      await person.presses("Sign in");
      await person.sees("Sign in");
      return person.told();
    },

    async forgotten(task) {
      const person = await Person.open(tools, task);
      await person.begins();
      // The application keeps a sign-in for ten minutes.
      await person.context.clearCookies({ name: "demo_flows" });
      await person.presses("Cancel and go back to Demo app");
      await person.sees("This sign-in is not known");
      await person.presses("Sign in");
      await person.sees("Sign in");
      return person.told();
    },

    /** Weighs everything that the sign-in page loads. */
    async weighs(task) {
      const person = await Person.open(tools, task);
      await person.go(task.app);
      await person.sees("Welcome");
      const loaded = [];
      person.page.on("response", (response) => loaded.push(response));
      await person.presses("Sign in");
      await person.sees("Sign in");
      const sizes = loaded.map((response) => (response.status() < 300 ? response.body() : ""));
      const bytes = (await Promise.all(sizes)).reduce((sum, { length }) => sum + length, 0);
      return person.told({ bytes });
    },

    async withoutApplication(task) {
      const person = await Person.open(tools, task);
      await person.go(task.link);
      await person.sees("Set a password");
      await person.setsPassword();
      await person.presses("Sign in");
      await person.sees("Sign in");
      await person.givesPassword();
      await person.sees("You are signed in");
      await person.presses("Sign out");
      await person.sees("Do you want to sign out?");
      await person.presses("Sign out");
      await person.sees("You are signed out");
      return person.told();
    },

    async withoutIssuer(task) {
      const person = await Person.open(tools, task);
      await person.go(task.app);
      await person.presses("Sign in");
      await person.sees("The issuer does not answer");
      return person.told();
    },
  };
}

/** What a form sends. */
class Copy {
  static async of(page) {
    const form = page.locator("form").first();
    const [action, fields] = await form.evaluate((form) => {
      const data = new FormData(form, form.querySelector("button"));
      return [form.action, [...data].map(([name, value]) => [name, value])];
    });
    return Object.assign(new Copy(), { action, fields });
  }

  /** Sends it again from a later page of the issuer, as a second press of the button does. */
  async send(page) {
    await page.evaluate(({ action, fields }) => {
      const form = document.createElement("form");
      Object.assign(form, { method: "post", action });
      for (const [name, value] of fields) {
        const field = Object.assign(document.createElement("input"), { type: "hidden", name, value });
        form.append(field);
      }
      document.body.append(form);
      form.submit();
    }, { ...this });
  }
}
