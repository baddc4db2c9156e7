//! One request to the Kubernetes API, bounded in time and never repeated.
//!
//! The body of a Secret, and what an admission webhook says about one, must not get into logs, events or statuses.

use std::time::Duration;

use http::StatusCode;
use kube::api::ListParams;
use kube::core::Request;
use serde_json::Value;

use super::api::ApiError;
use crate::json_stream::{Framing, Keep, PageSize, Piece, Scanner, read};
use crate::kube_call::{Client, KubeFault, ResponseBody, scrub};

/// The message about an object with a part that is too large.
const TOO_LARGE: &str =
    "the object is too large to be read: remove data, labels or annotations from it";

/// What the API server says if a webhook does not answer and its `failurePolicy` is `Fail`.
const FAILED_WEBHOOK: &str = "failed calling webhook";

/// A request as kube builds it.
pub(in crate::reconcile) type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// A client that sends each request once. It holds no answer that is larger than an object may be: see
/// [`crate::json_stream`].
#[derive(Clone)]
pub(in crate::reconcile) struct Rest {
    pub(in crate::reconcile) client: Client,
    /// The time limit from sending the request to the end of the answer.
    pub(in crate::reconcile) timeout: Duration,
}

/// An object in an answer.
struct Object {
    value: Value,
    /// Whether a part of it was too large to read.
    is_cut: bool,
}

/// What a page contains in addition to its objects.
#[derive(Default)]
pub(in crate::reconcile) struct Page {
    metadata: Value,
    objects: usize,
    bytes: usize,
}

impl Rest {
    /// Sends a request and returns the answer's JSON.
    pub(in crate::reconcile) async fn send(&self, request: Built) -> Result<Value, ApiError> {
        self.send_for(request, Keep::WHOLE).await
    }

    /// Sends a request and returns the parts in `keep` of the object in the answer.
    pub(super) async fn send_for(&self, request: Built, keep: Keep) -> Result<Value, ApiError> {
        let mut answer = None;
        let mut take = |object| answer = Some(object);
        self.exchange(request, Framing::Object, keep, &mut take)
            .await?;
        match answer {
            Some(Object { is_cut: true, .. }) => Err(ApiError::Unknown(TOO_LARGE.to_owned())),
            Some(Object { value, .. }) => Ok(value),
            None => Err(not_json()),
        }
    }

    /// Does the same and returns `None` if the object does not exist.
    pub(in crate::reconcile) async fn find(
        &self,
        request: Built,
    ) -> Result<Option<Value>, ApiError> {
        self.find_for(request, Keep::WHOLE).await
    }

    /// Does the same and returns the parts in `keep`.
    pub(in crate::reconcile) async fn find_for(
        &self,
        request: Built,
        keep: Keep,
    ) -> Result<Option<Value>, ApiError> {
        match self.send_for(request, keep).await {
            Ok(object) => Ok(Some(object)),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists in pages. Passes each object to `each` as it arrives, with whether a part was left out for being too
    /// large. Never holds a whole page.
    pub(in crate::reconcile) async fn list(
        &self,
        folder: &str,
        like: &ListParams,
        keep: Keep,
        each: &mut (dyn FnMut(Value, bool) + Send),
    ) -> Result<(), ApiError> {
        let (mut params, mut size) = (like.clone(), PageSize::default());
        loop {
            params.limit = Some(size.limit());
            let page = self.page(folder, &params, keep, each).await?;
            size = size.after(page.objects, page.bytes);
            match page.metadata["continue"].as_str() {
                Some(token) if !token.is_empty() => params.continue_token = Some(token.to_owned()),
                _ => return Ok(()),
            }
        }
    }

    /// Lists one page.
    pub(in crate::reconcile) async fn page(
        &self,
        folder: &str,
        params: &ListParams,
        keep: Keep,
        each: &mut (dyn FnMut(Value, bool) + Send),
    ) -> Result<Page, ApiError> {
        let request = Request::new(folder).list(params);
        let mut take = |object: Object| each(object.value, object.is_cut);
        self.exchange(request, Framing::List, keep, &mut take).await
    }

    async fn exchange(
        &self,
        request: Built,
        framing: Framing,
        keep: Keep,
        take: &mut (dyn FnMut(Object) + Send),
    ) -> Result<Page, ApiError> {
        let request =
            request.map_err(|error| ApiError::Invalid(KubeFault::from(error).to_string()))?;
        let answer = tokio::time::timeout(self.timeout, async {
            let answer = self.client.send(request).await;
            let answer = answer.map_err(unknown)?;
            let status = answer.status();
            let mut body = answer.into_body();
            if !status.is_success() {
                let said = read::refusal(&mut body).await;
                let said = said.map_err(unknown)?;
                let said = serde_json::from_slice(&said).unwrap_or_default();
                return Err(refusal(status, &said));
            }
            objects(&mut body, Scanner::new(framing, keep), take).await
        })
        .await;
        answer.unwrap_or_else(|_| {
            let words = format!("no response within {:?}", self.timeout);
            Err(ApiError::Unknown(words))
        })
    }
}

/// Passes on the objects of a body as they arrive.
async fn objects(
    body: &mut ResponseBody,
    mut scanner: Scanner,
    take: &mut (dyn FnMut(Object) + Send),
) -> Result<Page, ApiError> {
    let mut page = Page::default();
    let mut is_json = true;
    while let Some(chunk) = read::chunk(body).await {
        let chunk = chunk.map_err(unknown)?;
        page.bytes += chunk.len();
        let pushed = scanner.push(&chunk, &mut |piece| match piece {
            Piece::Item { json, is_cut, .. } => {
                page.objects += 1;
                match serde_json::from_slice(json) {
                    Ok(value) => take(Object { value, is_cut }),
                    Err(_) => is_json = false,
                }
            }
            Piece::ListMetadata(json) => {
                page.metadata = serde_json::from_slice(json).unwrap_or_default();
            }
            Piece::BadLine => {}
        });
        // The outcome is known to the server; only its description is missing here.
        pushed.map_err(|_| not_json())?;
    }
    let is_whole = scanner.finish().is_ok();
    if is_json && is_whole {
        Ok(page)
    } else {
        Err(not_json())
    }
}

/// Maps the error of a read. An object that is too large is a definite failure of a read, but leaves the outcome of a
/// write unknown.
pub(super) fn of_a_read(error: ApiError) -> ApiError {
    match error {
        ApiError::Unknown(words) if words == TOO_LARGE => ApiError::Invalid(words),
        error => error,
    }
}

fn unknown(fault: KubeFault) -> ApiError {
    ApiError::Unknown(fault.to_string())
}

fn not_json() -> ApiError {
    ApiError::Unknown("the response is not JSON".to_owned())
}

/// Returns what an unsuccessful answer means, above all whether anything was done.
fn refusal(status: StatusCode, body: &Value) -> ApiError {
    let reason = body["reason"].as_str().unwrap_or_default();
    let message = scrub(body["message"].as_str().unwrap_or_default());
    match (status.as_u16(), reason) {
        // Without a name, the kind itself is unknown: its definition was removed.
        (404, _) if body["details"]["name"].is_string() => ApiError::NotFound,
        (404, _) => ApiError::Unavailable("the API server does not have the kind".to_owned()),
        (409, "AlreadyExists") => ApiError::AlreadyExists,
        (409, _) => ApiError::Conflict,
        (403, _) => ApiError::Forbidden(message),
        (401, _) => {
            ApiError::Unavailable("the API server refuses the operator's credentials".to_owned())
        }
        (429 | 503, _) => ApiError::Unavailable(message),
        // An apply with a field of a wrong type, or one that the kind does not have.
        (500, _) if message.starts_with("failed to create typed patch object") => {
            ApiError::Invalid(message)
        }
        (500, _) if message.contains(FAILED_WEBHOOK) => ApiError::WebhookDown(message),
        (500..=599, _) if !message.is_empty() => {
            ApiError::Unknown(format!("status {status}: {message}"))
        }
        (500..=599, _) => ApiError::Unknown(format!("status {status}")),
        _ => ApiError::Invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::json_stream::{MAX_REWRITTEN, MAX_REWRITTEN_VALUES};
    use crate::kube_call::Body;

    /// Returns a client whose requests get these answers in turn, and the list of its requests.
    fn answering(answers: Vec<Value>) -> (Rest, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            noted.lock().unwrap().push(request.uri().to_string());
            let answer = answers.lock().unwrap().pop_front().unwrap();
            let body = Body::from(answer.to_string().into_bytes());
            async { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
        });
        let rest = Rest {
            client: Client::new(service, "default"),
            timeout: Duration::from_mins(1),
        };
        (rest, asked)
    }

    fn object(name: &str, bytes: usize) -> Value {
        let labels = (0..bytes / 100).map(|n| (format!("l{n:04}"), "v".repeat(85).into()));
        let labels: serde_json::Map<String, Value> = labels.collect();
        json!({"kind": "OAuthClient", "metadata": {"name": name, "labels": labels}, "status": {"epoch": 1}})
    }

    fn get() -> Built {
        Request::new("/x").get("a", &kube::api::GetParams::default())
    }

    #[tokio::test]
    async fn a_live_object_is_read_without_unused_fields() {
        let (rest, _) = answering(vec![object("a", 1 << 20)]);
        let live = rest.send_for(get(), Keep::LIVE).await.unwrap();
        let expected = json!({"kind": "OAuthClient", "metadata": {"name": "a", "labels": {}}, "status": {"epoch": 1}});
        assert_eq!(live, expected);
    }

    /// An object that is to be written back must not lack a part.
    #[tokio::test]
    async fn a_whole_object_is_read_whole_or_not_at_all() {
        let (rest, _) = answering(vec![object("a", 100 << 10), object("a", 1 << 20)]);
        assert_eq!(rest.send(get()).await, Ok(object("a", 100 << 10)));
        let refused = rest.send(get()).await;
        assert!(
            matches!(&refused, Err(ApiError::Unknown(words)) if words.contains("too large")),
            "{refused:?}"
        );
    }

    /// A tenant may fill a Secret with keys, which take much more memory than their JSON, and many passes hold such a
    /// Secret at once.
    #[tokio::test]
    async fn secrets_are_read_within_a_bound_on_all_passes_memory() {
        let secret = |keys: usize, bytes: usize| {
            let data = (0..keys).map(|n| (format!("k{n:05}"), "A".repeat(bytes / keys).into()));
            let data: serde_json::Map<String, Value> = data.collect();
            json!({"kind": "Secret", "metadata": {"name": "a"}, "data": data, "type": "Opaque"})
        };
        let (usual, large) = (secret(900, 2_000), secret(40, 300 << 10));
        let answers = vec![
            usual.clone(),
            large.clone(),
            secret(1_100, 1_100),
            secret(100_000, 0),
            secret(40, 330 << 10),
        ];
        let (rest, _) = answering(answers);
        for whole in [usual, large] {
            let read = rest.find_for(get(), Keep::REWRITTEN).await;
            assert_eq!(read, Ok(Some(whole)));
        }
        for _ in 0..3 {
            let read = rest.find_for(get(), Keep::REWRITTEN).await;
            let said = Err(ApiError::Invalid(TOO_LARGE.to_owned()));
            assert_eq!(read.map_err(of_a_read), said);
        }
        // The Secret, a former one and the one before it; the filled Secret, a copy of it and the answer. Then a body
        // and an answer as text, in buffers that may have doubled.
        let parsed = MAX_REWRITTEN + 110 * MAX_REWRITTEN_VALUES;
        let pass = 6 * parsed + 2 * 2 * MAX_REWRITTEN;
        let workers = crate::reconcile::controller::Tuning::default().workers;
        assert!(workers * pass < 128 << 20, "{pass} bytes in a pass");
    }

    #[tokio::test]
    async fn a_list_passes_on_each_object_and_sizes_pages_by_bytes() {
        let page =
            |next: &str, items: Vec<Value>| json!({"metadata": {"continue": next}, "items": items});
        let fat = (0..32).map(|n| object(&n.to_string(), 256 << 10)).collect();
        let (rest, asked) = answering(vec![page("more", fat), page("", vec![object("b", 0)])]);
        let mut names = Vec::new();
        let mut each = |object: Value, is_cut: bool| {
            assert!(!is_cut);
            names.push(object["metadata"]["name"].as_str().unwrap().to_owned());
        };
        let all = ListParams::default();
        rest.list("/x", &all, Keep::LIVE, &mut each).await.unwrap();
        assert_eq!(names.len(), 33);
        let asked = asked.lock().unwrap();
        assert!(asked[0].contains("limit=32"), "{asked:?}");
        assert!(
            asked[1].contains("limit=1") && asked[1].contains("continue=more"),
            "{asked:?}"
        );
    }

    #[test]
    fn an_error_tells_whether_anything_was_done() {
        let named = json!({"reason": "NotFound", "details": {"name": "a"}});
        let exists = json!({"reason": "AlreadyExists", "details": {"name": "a"}});
        for (code, body, expected) in [
            (404, &named, ApiError::NotFound),
            (
                404,
                &json!({"reason": "NotFound", "details": {}}),
                ApiError::Unavailable("the API server does not have the kind".into()),
            ),
            (
                404,
                &Value::Null,
                ApiError::Unavailable("the API server does not have the kind".into()),
            ),
            (409, &exists, ApiError::AlreadyExists),
            (409, &json!({"reason": "Conflict"}), ApiError::Conflict),
            (
                403,
                &json!({"message": "no"}),
                ApiError::Forbidden("no".into()),
            ),
            (
                422,
                &json!({"message": "bad"}),
                ApiError::Invalid("bad".into()),
            ),
            (
                500,
                &json!({"message": "failed to create typed patch object: .spec.foo: field not declared in schema"}),
                ApiError::Invalid(
                    "failed to create typed patch object: .spec.foo: field not declared in schema"
                        .into(),
                ),
            ),
            (
                429,
                &json!({"message": "later"}),
                ApiError::Unavailable("later".into()),
            ),
            (
                503,
                &json!({"message": "later"}),
                ApiError::Unavailable("later".into()),
            ),
            (
                500,
                &json!({"message": "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook"}),
                ApiError::WebhookDown(
                    "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook".into(),
                ),
            ),
            (
                500,
                &json!({"message": "etcd"}),
                ApiError::Unknown("status 500 Internal Server Error: etcd".into()),
            ),
            (
                504,
                &Value::Null,
                ApiError::Unknown("status 504 Gateway Timeout".into()),
            ),
        ] {
            assert_eq!(
                refusal(StatusCode::from_u16(code).unwrap(), body),
                expected,
                "{code} {body}"
            );
        }
    }
}
