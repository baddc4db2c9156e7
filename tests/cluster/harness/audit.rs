//! The API server's audit log: every request with its user. Tests count requests in it, since no client can hide one.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use jiff::Timestamp;
use serde::Deserialize;

/// A position in the audit log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

/// A request that the API server has answered. A watch counts when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// get, list, watch, create, update, patch, delete, deletecollection
    pub(crate) verb: String,
    /// The plural, with the subresource after a slash: `secrets`, `oauthclients/status`.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `system:serviceaccount:NAMESPACE:NAME`, or `admin`.
    pub(crate) user: String,
    pub(crate) code: u16,
    pub(crate) user_agent: String,
    /// Of a write, as the request names it.
    pub(crate) field_manager: Option<String>,
    /// When it reached the API server.
    pub(crate) received: Timestamp,
}

impl Request {
    pub(crate) fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }
}

pub(super) fn mark(folder: &Path) -> Mark {
    Mark(
        log(folder)
            .metadata()
            .expect("the size of the audit log can be read")
            .len(),
    )
}

pub(super) fn since(folder: &Path, Mark(start): Mark) -> Vec<Request> {
    let mut text = String::new();
    let mut log = log(folder);
    log.seek(SeekFrom::Start(start))
        .expect("the audit log only grows");
    log.read_to_string(&mut text)
        .expect("the audit log is text");
    // A last line without a line break is still being written.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<Event>(line)
                .expect("every line is an audit event")
                .request()
        })
        .collect()
}

fn log(folder: &Path) -> File {
    File::open(folder.join("audit.log")).expect("the API server writes an audit log")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    #[serde(default)]
    user_agent: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    response_status: Option<Status>,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

impl Event {
    /// `None` for requests without an object, such as discovery, and for the event at the end of a watch.
    fn request(self) -> Option<Request> {
        let answered = if self.verb == "watch" {
            "ResponseStarted"
        } else {
            "ResponseComplete"
        };
        let object = self.object_ref.filter(|_| self.stage == answered)?;
        let separator = if object.subresource.is_empty() {
            ""
        } else {
            "/"
        };
        let query = self.request_uri.split_once('?').map_or("", |(_, it)| it);
        let field_manager = query
            .split('&')
            .find_map(|it| it.strip_prefix("fieldManager="));
        Some(Request {
            field_manager: field_manager.map(str::to_owned),
            verb: self.verb,
            resource: format!("{}{separator}{}", object.resource, object.subresource),
            namespace: object.namespace,
            name: object.name,
            user: self.user.username,
            user_agent: self.user_agent,
            code: self.response_status.map_or(0, |status| status.code),
            received: self.request_received_timestamp,
        })
    }
}
