//! Tests watches against a scripted API server, which does what a real one does only rarely.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::directory::Directory;
use crate::kube_call::Body;
use crate::resources::{Kind, ManagedKind};

/// One response, and the parts that its request must and must not contain.
#[derive(Clone)]
struct Act {
    asked: &'static [&'static str],
    never: &'static [&'static str],
    status: u16,
    body: String,
    /// Stays open after the body, as a watch does.
    open: bool,
    /// Answers every request until this is opened: how often a watch tries within a wait depends on its random pauses.
    until: Option<Gate>,
}

/// What a test opens when it has seen enough.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn act(asked: &'static [&'static str], status: u16, body: String) -> Act {
    Act {
        asked,
        never: &[],
        status,
        body,
        open: false,
        until: None,
    }
}

fn watch(asked: &'static [&'static str], events: &[Value]) -> Act {
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    let body = lines.join("\n") + "\n";
    Act {
        open: true,
        ..act(asked, 200, body)
    }
}

fn scope(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "Scope",
        "metadata": {
            "namespace": "platform", "name": name, "uid": name, "resourceVersion": version,
            "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1,
        },
        "spec": {"identityRef": {"name": "main"}},
    })
}

fn event(kind: &str, object: Value) -> Value {
    Value::from_iter([("type", kind.into()), ("object", object)])
}

fn bookmark(version: &str, ends_list: bool) -> Value {
    let annotations = if ends_list {
        json!({"k8s.io/initial-events-end": "true"})
    } else {
        json!({})
    };
    let metadata = json!({"resourceVersion": version, "annotations": annotations});
    event(
        "BOOKMARK",
        json!({"apiVersion": "symbolon.dev/v1alpha1", "kind": "Scope", "metadata": metadata}),
    )
}

/// A page of a list.
fn page(items: &[Value], version: &str, next: &str) -> String {
    json!({"kind": "ScopeList", "metadata": {"resourceVersion": version, "continue": next}, "items": items}).to_string()
}

fn refused(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code})
}

/// Applies the changes to a directory.
#[derive(Default)]
struct Told(Mutex<Directory>);

impl Sink for Told {
    fn take(&self, batch: Vec<WatchChange>) {
        let mut directory = lock(&self.0);
        for seen in batch {
            if let WatchChange::Object { change, .. } = seen {
                directory.apply(change);
            }
        }
    }
}

impl Told {
    fn names(&self) -> Vec<String> {
        let directory = self.0.lock().unwrap();
        directory
            .scopes()
            .map(|object| object.key.name.to_string())
            .collect()
    }

    async fn has(&self, names: &[&str]) {
        for _ in 0..6000 {
            if self.names() == names {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the directory has {:?}, not {names:?}", self.names());
    }

    async fn labelled(&self, namespace: &str, team: &str) {
        let team_of = || {
            let directory = self.0.lock().unwrap();
            let labels = directory.labels(namespace)?;
            labels.get("team").map(ToString::to_string)
        };
        for _ in 0..6000 {
            if team_of().as_deref() == Some(team) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the label of {namespace} is {:?}, not {team}", team_of());
    }
}

/// Takes the act for the next request.
fn next(acts: &mut VecDeque<Act>) -> Option<Act> {
    let is_over = |act: &Act| act.until.as_ref().is_some_and(Gate::is_open);
    while acts.front().is_some_and(is_over) {
        acts.pop_front();
    }
    match acts.front() {
        Some(act) if act.until.is_some() => Some(act.clone()),
        _ => acts.pop_front(),
    }
}

/// Returns a client whose requests get these responses in turn. Further requests get no response.
fn played(acts: Vec<Act>) -> Client {
    let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        let act = next(&mut acts.lock().unwrap());
        async move {
            let Some(act) = act else {
                return std::future::pending().await;
            };
            for part in act.asked {
                assert!(uri.contains(part), "{part} is not in {uri}");
            }
            for part in act.never {
                assert!(!uri.contains(part), "{part} is in {uri}");
            }
            // The chunks end anywhere, as on a network.
            let body = bytes::Bytes::from(act.body);
            let chunk = (body.len() / 64).max(7);
            let chunks = (0..body.len()).step_by(chunk);
            let chunks = chunks.map(move |from| body.slice(from..body.len().min(from + chunk)));
            let rest = futures::stream::iter(
                chunks.map(|chunk| Ok::<_, Infallible>(hyper::body::Frame::data(chunk))),
            );
            let open = futures::stream::pending().take(usize::from(act.open));
            let body = http_body_util::StreamBody::new(futures::StreamExt::chain(rest, open));
            Ok::<_, Infallible>(
                Response::builder()
                    .status(StatusCode::from_u16(act.status).unwrap())
                    .body(body)
                    .unwrap(),
            )
        }
    });
    Client::new(service, "default")
}

fn start(acts: Vec<Act>) -> (Source, Arc<Told>) {
    start_of(WatchedKind::Kind(Kind::Scope), Reach::Cluster, acts)
}

fn start_of(watched_kind: WatchedKind, reach: Reach, acts: Vec<Act>) -> (Source, Arc<Told>) {
    start_but(watched_kind, reach, acts, Refusals::default())
}

fn start_but(
    watched_kind: WatchedKind,
    reach: Reach,
    acts: Vec<Act>,
    refusals: Refusals,
) -> (Source, Arc<Told>) {
    let told = Arc::new(Told::default());
    let options = Options {
        watched_kinds: vec![(watched_kind, reach)],
        settings: Arc::default(),
        mac: channel::channel(None).1,
        start_within: Duration::ZERO,
        silence: SILENCE,
        refusals,
    };
    (Source::start(&played(acts), &options, &told), told)
}

/// Time passes only while every task waits, so no speed of the machine matters.
const SILENCE: Duration = Duration::from_secs(2);
const STREAM: &[&str] = &["sendInitialEvents=true", "NotOlderThan&resourceVersion="];

#[tokio::test(start_paused = true)]
async fn a_streaming_list_is_followed_by_its_watch() {
    let first = [
        event("ADDED", scope("a", "1")),
        event("ADDED", scope("b", "2")),
        bookmark("2", true),
    ];
    let later = [
        event("ADDED", scope("c", "3")),
        event("DELETED", scope("a", "4")),
    ];
    let (source, told) = start(vec![watch(
        &["sendInitialEvents=true", "allowWatchBookmarks=true"],
        &[&first[..], &later].concat(),
    )]);
    source.listed(Duration::from_mins(1)).await.unwrap();
    told.has(&["b", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn without_streaming_lists_it_lists_in_pages() {
    let (source, told) = start(vec![
        // The list is of the newest state: "0" would accept any old state.
        Act {
            never: &["resourceVersion=0"],
            ..act(STREAM, 422, refused(422, "Invalid").to_string())
        },
        Act {
            never: &["continue="],
            ..act(&["limit=32"], 200, page(&[scope("a", "1")], "", "more"))
        },
        act(&["continue=more"], 200, page(&[scope("b", "2")], "9", "")),
        Act {
            never: &["sendInitialEvents"],
            ..watch(&["resourceVersion=9"], &[event("ADDED", scope("c", "10"))])
        },
    ]);
    source.listed(Duration::from_mins(1)).await.unwrap();
    told.has(&["a", "b", "c"]).await;
}

/// Returns a Scope with this number of bytes in labels and annotations that are not read.
fn fat(name: &str, version: &str, bytes: usize) -> Value {
    let mut fat = scope(name, version);
    let labels = (0..bytes / 200).map(|n| (format!("l{n}"), Value::from("v".repeat(60))));
    fat["metadata"]["labels"] = Value::Object(labels.collect());
    fat["metadata"]["annotations"] = json!({"a": "v".repeat(bytes / 2)});
    fat
}

#[tokio::test(start_paused = true)]
async fn the_size_of_pages_follows_the_size_of_objects() {
    let fats: Vec<Value> = (0..32)
        .map(|n| fat(&format!("a{n:02}"), "1", 256 << 10))
        .collect();
    let small: Vec<Value> = (0..16).map(|n| scope(&format!("b{n:02}"), "1")).collect();
    let (source, told) = start(vec![
        act(STREAM, 422, refused(422, "Invalid").to_string()),
        act(&["limit=32"], 200, page(&fats, "", "one")),
        act(&["limit=18&", "continue=one"], 200, page(&small, "", "two")),
        act(
            &["limit=72&", "continue=two"],
            200,
            page(&small, "", "three"),
        ),
        act(
            &["limit=288&", "continue=three"],
            200,
            page(&small, "", "four"),
        ),
        act(&["limit=500&", "continue=four"], 200, page(&[], "9", "")),
        watch(&["resourceVersion=9"], &[]),
    ]);
    source.listed(Duration::from_mins(1)).await.unwrap();
    assert_eq!(told.names().len(), 48);
}

#[tokio::test(start_paused = true)]
async fn a_page_larger_than_the_limit_is_read() {
    let all: Vec<Value> = (0..600).map(|n| scope(&format!("a{n:03}"), "1")).collect();
    let (source, told) = start(vec![
        act(STREAM, 422, refused(422, "Invalid").to_string()),
        act(&["limit=32"], 200, page(&all, "9", "")),
        watch(&["resourceVersion=9"], &[]),
    ]);
    source.listed(Duration::from_mins(1)).await.unwrap();
    assert_eq!(told.names().len(), 600);
}

/// Objects of the broken list are known. They are deleted only when another list is complete.
#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_starts_over() {
    let mut half = page(&[scope("b", "1"), scope("c", "1")], "9", "");
    half.truncate(half.find("\"c\"").unwrap());
    let expired = refused(410, "Expired").to_string();
    for (fault, known) in [
        (act(&["continue=more"], 410, expired), &["a"][..]),
        (act(&["continue=more"], 200, half), &["a", "b"]),
    ] {
        let (source, told) = start(vec![
            act(STREAM, 422, refused(422, "Invalid").to_string()),
            act(&["limit=32"], 200, page(&[scope("a", "1")], "", "more")),
            fault,
            Act {
                never: &["continue="],
                ..act(&["limit=32"], 200, page(&[scope("d", "1")], "9", ""))
            },
            watch(&["resourceVersion=9"], &[]),
        ]);
        told.has(known).await;
        assert!(!source.is_listed());
        told.has(&["d"]).await;
    }
}

/// The object may have been served before, so it is deleted. Other objects are not affected.
#[tokio::test(start_paused = true)]
async fn an_object_that_is_too_large_is_ignored_and_hides_no_other() {
    let too_large = |version: &str| {
        let mut scope = scope("a", version);
        scope["spec"]["description"] = "x".repeat(crate::json_stream::MAX_KEPT).into();
        scope
    };
    let (_source, told) = start(vec![
        act(STREAM, 422, refused(422, "Invalid").to_string()),
        act(
            &["limit=32"],
            200,
            page(&[too_large("1"), scope("b", "1")], "9", ""),
        ),
        watch(
            &["resourceVersion=9"],
            &[
                event("MODIFIED", scope("a", "10")),
                event("ADDED", scope("c", "11")),
                event("MODIFIED", too_large("12")),
                event("ADDED", scope("d", "13")),
            ],
        ),
    ]);
    told.has(&["b", "c", "d"]).await;
}

/// The same for any size of labels and annotations.
#[tokio::test(start_paused = true)]
async fn large_unread_metadata_changes_nothing() {
    let events = [
        event("ADDED", fat("a", "1", 1 << 20)),
        event("ADDED", fat("b", "2", 1 << 20)),
        bookmark("2", true),
        event("ADDED", fat("c", "3", 1 << 20)),
        event("DELETED", fat("a", "4", 1 << 20)),
    ];
    let (source, told) = start(vec![watch(STREAM, &events)]);
    source.listed(Duration::from_mins(1)).await.unwrap();
    told.has(&["b", "c"]).await;
}

/// A Role in the namespace suffices: no request is for all namespaces.
#[tokio::test(start_paused = true)]
async fn a_single_namespace_is_watched_with_and_without_streaming_lists() {
    const ALONE: &[&str] = &["/api/v1/watch/namespaces/shop?", "watch=true"];
    let shop = |version: &str| {
        let metadata =
            json!({"name": "shop", "resourceVersion": version, "labels": {"team": version}});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    };
    let listed = || watch(ALONE, &[event("ADDED", shop("1")), bookmark("1", true)]);
    let without = || {
        vec![
            act(ALONE, 422, refused(422, "Invalid").to_string()),
            Act {
                never: &["limit", "fieldSelector"],
                ..act(&["/api/v1/namespaces/shop"], 200, shop("1").to_string())
            },
            watch(&["resourceVersion=1"], &[event("MODIFIED", shop("2"))]),
        ]
    };
    for (acts, team) in [(vec![listed()], "1"), (without(), "2")] {
        let reach = Reach::Namespaces(vec!["shop".to_owned()]);
        let (source, told) = start_of(WatchedKind::Namespaces, reach, acts);
        source.listed(Duration::from_mins(1)).await.unwrap();
        told.labelled("shop", team).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_continues_from_the_last_bookmark() {
    let first = [
        event("ADDED", scope("a", "1")),
        bookmark("1", true),
        bookmark("7", false),
    ];
    let (_source, told) = start(vec![
        // The API server ends the watch at once, so the next one starts after a pause.
        Act {
            open: false,
            ..watch(&["sendInitialEvents=true"], &first)
        },
        watch(
            &["resourceVersion=7"],
            &[event("MODIFIED", scope("b", "8"))],
        ),
    ]);
    told.has(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_causes_a_new_list_and_missing_objects_are_deleted() {
    let first = [
        event("ADDED", scope("a", "1")),
        event("ADDED", scope("b", "2")),
        bookmark("2", true),
    ];
    let (_source, told) = start(vec![
        watch(
            &["sendInitialEvents=true"],
            &[&first[..], &[event("ERROR", refused(410, "Expired"))]].concat(),
        ),
        watch(
            &["sendInitialEvents=true"],
            &[
                event("ADDED", scope("b", "2")),
                event("ADDED", scope("d", "20")),
            ],
        ),
    ]);
    told.has(&["a", "b", "d"]).await;
    let (_source, told) = start(vec![
        watch(
            &["sendInitialEvents=true"],
            &[&first[..], &[event("ERROR", refused(410, "Expired"))]].concat(),
        ),
        watch(
            &["sendInitialEvents=true"],
            &[event("ADDED", scope("b", "2")), bookmark("30", true)],
        ),
    ]);
    told.has(&["b"]).await;
}

#[tokio::test(start_paused = true)]
async fn objects_of_a_list_that_broke_off_are_known() {
    let (_source, told) = start(vec![
        Act {
            open: false,
            ..watch(
                &["sendInitialEvents=true"],
                &[event("ADDED", scope("a", "1"))],
            )
        },
        watch(
            &["sendInitialEvents=true"],
            &[event("ADDED", scope("b", "2")), bookmark("2", true)],
        ),
    ]);
    told.has(&["b"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_invalid_object_does_not_stop_the_watch() {
    let odd = json!({"metadata": {"namespace": "platform", "name": "a", "resourceVersion": "3"}, "spec": 7});
    let events = [
        event("ADDED", scope("a", "1")),
        event("ADDED", scope("b", "2")),
        bookmark("2", true),
        // The previous version is not served any longer.
        event("MODIFIED", odd),
        event("ADDED", scope("c", "5")),
    ];
    let (_source, told) = start(vec![watch(&[], &events)]);
    told.has(&["b", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_age_grows_in_silence_and_silence_causes_a_new_list() {
    let (source, told) = start(vec![
        watch(&[], &[event("ADDED", scope("a", "1")), bookmark("1", true)]),
        // A restore of etcd may have removed the version.
        watch(STREAM, &[event("ADDED", scope("b", "2"))]),
    ]);
    told.has(&["a"]).await;
    let growing = async {
        while source.oldest().0 < SILENCE / 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let grown = tokio::time::timeout(Duration::from_mins(1), growing).await;
    grown.expect("the age grows");
    assert_eq!(source.oldest().1, "scopes");
    told.has(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn missing_lists_are_named_after_the_deadline() {
    let (source, _told) = start(vec![act(&[], 403, refused(403, "Forbidden").to_string())]);
    let missing = source.listed(Duration::from_millis(200)).await.unwrap_err();
    let missing = missing.to_string();
    assert!(
        missing.starts_with("no complete list yet of scopes; access denied: Forbidden"),
        "{missing}"
    );
    assert!(!source.is_listed());
}

#[tokio::test(start_paused = true)]
async fn a_missing_definition_or_right_is_named_until_the_watch_works() {
    let not_found = || act(&[], 404, "404 page not found\n".to_owned());
    let (source, told) = start(vec![not_found(), not_found(), forbidden(), {
        let first = [event("ADDED", scope("a", "1")), bookmark("1", true)];
        watch(&[], &first)
    }]);
    let missing = source.listed(Duration::from_millis(200)).await.unwrap_err();
    let missing = missing.to_string();
    assert!(missing.contains("scopes.symbolon.dev"), "{missing}");
    assert!(
        missing.contains("symbolon crds | kubectl apply"),
        "{missing}"
    );
    told.has(&["a"]).await;
    assert_eq!(source.missing(), None);
    assert!(source.health[0].lacked().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_missing_identity_differs_from_a_missing_definition() {
    let identity = ObjectKey::new("platform", "nope");
    let gone = |details: Value| {
        let mut status = refused(404, "NotFound");
        status["details"] = details;
        act(
            &["/namespaces/platform/identities/nope"],
            404,
            status.to_string(),
        )
    };
    let no_identity = Some(WatchObstacle::NoIdentity(identity.clone()));
    let no_definition = Some(WatchObstacle::NoDefinition(Kind::Identity));
    let named = json!({"group": "symbolon.dev", "kind": "identities", "name": "nope"});
    for (answer, wanted) in [
        (gone(named), no_identity),
        (gone(Value::Null), no_definition.clone()),
        (
            act(&[], 404, "404 page not found\n".to_owned()),
            no_definition,
        ),
        (
            forbidden(),
            Some(WatchObstacle::Denied("Forbidden".to_owned())),
        ),
        (away(), None),
        (act(&[], 200, scope("nope", "1").to_string()), None),
    ] {
        let client = played(vec![answer]);
        assert_eq!(obstacle_to(&client, &identity).await, wanted);
    }
}

const PATIENCE: Duration = Duration::from_secs(1);

/// Watches the Scopes of one configured namespace, with a short wait for access.
fn start_in_platform(acts: Vec<Act>, essential: &[&str]) -> (Source, Arc<Told>) {
    let refusals = Refusals {
        essential: essential.iter().map(|&name| name.to_owned()).collect(),
        unlisted: PATIENCE,
        withdrawn: PATIENCE,
    };
    let reach = Reach::Namespaces(vec!["platform".to_owned()]);
    start_but(WatchedKind::Kind(Kind::Scope), reach, acts, refusals)
}

fn forbidden() -> Act {
    act(&[], 403, refused(403, "Forbidden").to_string())
}

fn forbidden_until(gate: &Gate) -> Act {
    Act {
        until: Some(gate.clone()),
        ..forbidden()
    }
}

fn away() -> Act {
    act(&[], 500, refused(500, "InternalError").to_string())
}

fn listing(names: &[&str]) -> Act {
    let mut events: Vec<Value> = names
        .iter()
        .map(|name| event("ADDED", scope(name, "5")))
        .collect();
    events.push(bookmark("5", true));
    watch(STREAM, &events)
}

#[tokio::test(start_paused = true)]
async fn a_refused_namespace_counts_as_empty_until_it_is_allowed_again() {
    let gate = Gate::default();
    let (source, told) = start_in_platform(vec![forbidden_until(&gate), listing(&["a"])], &[]);
    assert!(source.listed(PATIENCE / 3).await.is_err(), "not at once");
    source.listed(Duration::from_mins(1)).await.unwrap();
    assert_eq!(source.refused(), BTreeSet::from(["platform"]));
    assert_eq!(
        source.oldest(),
        (Duration::ZERO, ""),
        "a refused watch does not age"
    );
    gate.open();
    told.has(&["a"]).await;
    assert_eq!(source.refused(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn objects_of_a_namespace_are_dropped_when_access_is_withdrawn() {
    let ended = Act {
        open: false,
        ..listing(&["a", "b"])
    };
    let gate = Gate::default();
    let acts = vec![ended, forbidden_until(&gate), listing(&["b"])];
    let (source, told) = start_in_platform(acts, &[]);
    told.has(&["a", "b"]).await;
    told.has(&[]).await;
    assert_eq!(source.refused(), BTreeSet::from(["platform"]));
    assert!(source.is_listed());
    gate.open();
    told.has(&["b"]).await;
}

/// Objects of a list that broke off are known, too.
#[tokio::test(start_paused = true)]
async fn access_withdrawn_during_a_list_leaves_no_object() {
    let half = Act {
        open: false,
        ..watch(STREAM, &[event("ADDED", scope("a", "1"))])
    };
    let (source, told) = start_in_platform(vec![half, forbidden_until(&Gate::default())], &[]);
    told.has(&["a"]).await;
    told.has(&[]).await;
    assert!(source.is_listed());
}

/// An API server that has just started denies everything for a moment.
#[tokio::test(start_paused = true)]
async fn a_short_refusal_drops_no_object() {
    let ended = Act {
        open: false,
        ..listing(&["a"])
    };
    let refusals = Refusals {
        withdrawn: PATIENCE * 100,
        ..Refusals::default()
    };
    let acts = vec![
        ended,
        forbidden(),
        away(),
        watch(&["resourceVersion=5"], &[event("ADDED", scope("b", "6"))]),
    ];
    let reach = Reach::Namespaces(vec!["platform".to_owned()]);
    let (source, told) = start_but(WatchedKind::Kind(Kind::Scope), reach, acts, refusals);
    told.has(&["a"]).await;
    for _ in 0..6000 {
        if told.names() == ["a", "b"] {
            break;
        }
        assert!(!told.names().is_empty(), "the objects stayed known");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told.names(), ["a", "b"]);
    assert_eq!(source.refused(), BTreeSet::new());
}

/// Otherwise a namespace that is always refused would delay all others as long as other faults occur in between.
#[tokio::test(start_paused = true)]
async fn a_fault_between_refusals_does_not_restart_the_wait() {
    let (source, _told) = start_in_platform(
        vec![forbidden(), away(), forbidden_until(&Gate::default())],
        &[],
    );
    source.listed(Duration::from_mins(1)).await.unwrap();
    assert_eq!(source.refused(), BTreeSet::from(["platform"]));
}

/// Objects that are listed and never watched would be served unchanged forever.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_be_listed_but_not_watched_counts_as_empty() {
    let gate = Gate::default();
    let acts = vec![
        act(STREAM, 422, refused(422, "Invalid").to_string()),
        act(&["limit=32"], 200, page(&[scope("a", "1")], "9", "")),
        forbidden_until(&gate),
        watch(&["watch=true", "resourceVersion=0"], &[]),
        act(&["limit=32"], 200, page(&[scope("b", "1")], "10", "")),
        watch(&["resourceVersion=10"], &[]),
    ];
    let (source, told) = start_in_platform(acts, &[]);
    told.has(&["a"]).await;
    told.has(&[]).await;
    assert_eq!(source.refused(), BTreeSet::from(["platform"]));
    gate.open();
    told.has(&["b"]).await;
    assert_eq!(source.refused(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_essential_namespace_never_counts_as_empty() {
    let (source, _told) = start_in_platform(vec![forbidden_until(&Gate::default())], &["platform"]);
    let missing = source.listed(PATIENCE * 3).await.unwrap_err();
    let missing = missing.to_string();
    assert!(
        missing.starts_with("no complete list yet of scopes in platform; access denied"),
        "{missing}"
    );
    assert_eq!(source.refused(), BTreeSet::new());
}

/// A tenant who may write Secrets also writes their labels and owner references.
#[test]
fn only_possible_owners_are_reported() {
    let long = "x".repeat(1 << 20);
    for (kind, name, is_owner) in [
        ("OAuthClient", "shop", true),
        ("ServiceAccessToken", "nightly.v2", true),
        ("Credential", "shop", false),
        ("Identity", "main", false),
        ("Deployment", "shop", false),
        ("OAuthClient", "", false),
        ("OAuthClient", "?watch=1&n=1", false),
        ("OAuthClient", "a/b", false),
        ("OAuthClient", "a/status", false),
        ("OAuthClient", "a b", false),
        ("OAuthClient", "..", false),
        ("OAuthClient", "a%2fb", false),
        ("OAuthClient", &long, false),
    ] {
        let reference = json!({"apiVersion": "symbolon.dev/v1alpha1", "kind": kind, "name": name, "uid": "1", "controller": true});
        let metadata = json!({
            "namespace": "blue", "name": "vault", "resourceVersion": "1",
            "labels": {"symbolon.dev/managed": "true", "symbolon.dev/client": name},
            "ownerReferences": [reference],
        });
        let raw = raw::Raw(json!({"metadata": metadata}));
        let seen = |watched_kind: WatchedKind| match watched_kind.deleted(&raw) {
            WatchChange::Secret(secret) => secret.controller,
            other => panic!("{other:?}"),
        };
        let shown = &name[..name.len().min(20)];
        let managed = seen(WatchedKind::ManagedSecrets);
        assert_eq!(managed.is_some(), is_owner, "{kind} {shown}");
        let imported = seen(WatchedKind::ImportedSecrets);
        let is_name = is_owner || ["shop", "main"].contains(&name);
        assert_eq!(imported.is_some(), is_name, "label {shown}");
    }
}

#[test]
fn only_possible_objects_of_identities_are_reported() {
    let long = format!("platform/{}", "x".repeat(1 << 20));
    for (name, identity, is_its) in [
        ("main-identity", "platform/main", true),
        ("symbolon:platform:main", "platform/main", true),
        ("a b", "platform/main", false),
        ("?watch=1", "platform/main", false),
        ("main-identity", "platform", false),
        ("main-identity", "platform/", false),
        ("main-identity", "platform/a/status", false),
        ("main-identity", "platform/?limit=0", false),
        ("main-identity", "../main", false),
        ("main-identity", &long, false),
    ] {
        let metadata = json!({
            "namespace": "blue", "name": name, "resourceVersion": "1",
            "annotations": {"symbolon.dev/identity-of": identity},
        });
        let raw = raw::Raw(json!({"metadata": metadata}));
        let WatchChange::Managed(seen) = WatchedKind::Managed(ManagedKind::Role).deleted(&raw)
        else {
            panic!("not a managed object");
        };
        let shown = &identity[..identity.len().min(30)];
        assert_eq!(seen.identity.is_some(), is_its, "{name} of {shown}");
    }
}
