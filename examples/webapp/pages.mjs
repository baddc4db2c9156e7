// The pages. Every value that `html` inserts is escaped, unless `html` made it.

class Html {
  constructor(text) {
    this.text = text;
  }
}

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function insert(value) {
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(insert).join("");
  return String(value ?? "").replace(/[&<>"']/g, (character) => ESCAPES[character]);
}

function html(texts, ...values) {
  return new Html(String.raw({ raw: texts }, ...values.map(insert)));
}

export const STYLE = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 46rem; margin: 0 auto; padding: 1rem; }
a.button, button { display: inline-block; margin: .5rem .5rem .5rem 0; padding: .6rem 1rem; border: 1px solid; border-radius: .4rem;
  background: Canvas; color: CanvasText; font: inherit; text-decoration: none; cursor: pointer; }
form { display: inline; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 35%; font-weight: 600; }
`;

function layout(title, main) {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${title} – Demo app</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header>Demo app</header>
<main>
${main}
</main>
</body>
</html>
`;
  return page.text;
}

const SIGN_IN = html`<a class="button" href="/sign-in">Sign in</a>`;

export function home() {
  return layout("Welcome", html`<h1>Welcome</h1>
<p>You are not signed in to this application.</p>
${SIGN_IN}`);
}

export function signedOut() {
  return layout("You are signed out", html`<h1>You are signed out</h1>
<p>The session at the issuer has ended too.</p>
${SIGN_IN}`);
}

const TIMES = ["auth_time", "exp", "iat", "nbf"];

function shown(name, value) {
  if (TIMES.includes(name)) return new Date(value * 1000).toISOString();
  return typeof value === "string" ? value : JSON.stringify(value);
}

function table(id, claims) {
  const rows = Object.entries(claims).map(([name, value]) => html`
<tr><th scope="row">${name}</th><td>${shown(name, value)}</td></tr>`);
  return html`<table aria-labelledby="${id}"><tbody>${rows}
</tbody></table>`;
}

export function account(idToken, accessToken) {
  return layout("Signed in", html`<h1>Hello, ${idToken.name ?? idToken.preferred_username ?? idToken.sub}</h1>
<p>You are signed in.</p>
<form method="post" action="/refresh"><button>Refresh the tokens</button></form>
<form method="post" action="/sign-out"><button>Sign out</button></form>
<h2 id="id-token">Claims of the ID token</h2>
<p>The ID token tells this application who you are.</p>
${table("id-token", idToken)}
<h2 id="access-token">Claims of the access token</h2>
<p>The access token is for the API. A refresh replaces it: see <code>exp</code> and <code>jti</code>.</p>
${table("access-token", accessToken)}`);
}

/** A page that says what happened, with one button that leads on. */
export function notice(title, text, label, href) {
  return layout(title, html`<div role="alert" tabindex="-1" autofocus>
<h1>${title}</h1>
<p>${text}</p>
</div>
<a class="button" href="${href}">${label}</a>`);
}
