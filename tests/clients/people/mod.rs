//! Real clients sign people in.
//!
//! A script uses a library as an application would, and asks for what a person does in a browser: it prints a question
//! and gets the answer (see [`Town::browse`]).

mod authlib;

mod oauth2_proxy;
mod oauth4webapi;
mod openid_client;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::script;
use crate::support::{Browser, Client, Dev, End, Folder, Person, Way, eventually};

const PASSWORD: &str = "correct horse battery staple 7";
const API: &str = "https://api.example.com";

/// A server in dev mode, with alice, who has a password.
struct Town {
    folder: Folder,
    dev: Dev,
    alice: Person,
    /// Browsers by name.
    browsers: BTreeMap<String, Browser>,
}

impl Town {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// Starts a server on changed manifests.
    fn with(change: impl FnOnce(&Folder)) -> Self {
        let folder = Folder::copy_of("tests/clients/manifests/people");
        change(&folder);
        let dev = Dev::start(&folder);
        let town = Self {
            folder,
            dev,
            alice: Person {
                username: "alice".to_owned(),
                password: PASSWORD.to_owned(),
            },
            browsers: BTreeMap::new(),
        };
        town.enrol();
        town
    }

    /// Sets alice's password with the link that dev mode writes.
    fn enrol(&self) {
        let file = self.folder.file(".symbolon/enrollment/alice.url");
        let link = eventually("dev mode writes alice's link", || {
            std::fs::read_to_string(&file).ok()
        });
        let mut browser = Browser::new(&[&self.dev.issuer]);
        let page = browser.open(link.trim()).page();
        let form = page.form.clone().unwrap_or_else(|| panic!("{page:?}"));
        let password = self.alice.password.as_str();
        let fields = [("password", password), ("repeated", password)];
        let done = browser.submit(&form, &fields).page();
        assert_eq!(done.status, 200, "{done:?}");
    }

    fn client(&self, namespace: &str, name: &str) -> Value {
        let secret = self
            .folder
            .secret(namespace, &format!("{name}-client"), "client-secret");
        let client = Client::of(&secret);
        json!({ "id": client.id, "secret": client.secret })
    }

    /// Does what a script asks for: `open` is the URL to open in the browser of the name `in`. If `as` is `alice`, she
    /// signs in and accepts what she is asked. Otherwise the browser stops at the first page.
    fn browse(&mut self, question: &Value) -> Value {
        let text = |name: &str| question[name].as_str();
        let name = text("in").unwrap_or("first").to_owned();
        let issuer = self.dev.issuer.clone();
        let browser = self.browsers.entry(name);
        let browser = browser.or_insert_with(|| Browser::new(&[&issuer]));
        let person = (text("as") == Some("alice")).then_some(&self.alice);
        told(&browser.go(text("open").unwrap(), person))
    }

    /// Runs a script with a task and answers its questions.
    fn run(&mut self, script: Command, task: &Value) -> Value {
        script::converse(script, task, |question| self.browse(question))
    }
}

/// What a script learns of a way: the forms that were shown, and either the URL and the form with which the browser left,
/// or the status of the page that it shows.
fn told(way: &Way) -> Value {
    let mut told = json!({ "forms": way.forms, "filledIn": way.filled_in });
    match &way.end {
        End::Left(left) => {
            told["url"] = json!(left.url.as_str());
            told["form"] = json!(left.form);
        }
        End::Page(page) => told["status"] = json!(page.status),
    }
    told
}
