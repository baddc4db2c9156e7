//! One request to the Kubernetes API, bounded in time and never repeated.
//!
//! Absent: kube's own `Client::request`, which logs a body that it cannot decode. A Secret's body, and
//! what an admission webhook says of one, must not get into logs, events or statuses.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use super::cluster::ApiError;

/// Runs of this many characters without a break may be a token, a hash or base64: none is repeated.
const LONGEST_WORD: usize = 32;
/// The most of the API server's own words that is repeated.
const LONGEST_MESSAGE: usize = 512;

/// A request as kube builds it.
pub(super) type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// A client that asks once.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) client: Client,
    /// From sending the request to the end of the answer.
    pub(super) timeout: Duration,
}

impl Rest {
    /// Sends a request; the answer's JSON.
    pub(super) async fn send(&self, request: Built) -> Result<Value, ApiError> {
        let request = request.map_err(|error| ApiError::Invalid(error.to_string()))?;
        let answer = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        let (status, body) = answer
            .map_err(|_| ApiError::Unknown(format!("none within {:?}", self.timeout)))?
            .map_err(|error| ApiError::Unknown(transport(&error)))?;
        let parsed = serde_json::from_slice(&body);
        if status.is_success() {
            // What was done is done; only its description is missing.
            return parsed.map_err(|_| ApiError::Unknown("it is no JSON".to_owned()));
        }
        Err(refusal(status, &parsed.unwrap_or_default()))
    }

    /// The same, with an object that is not there as `None`.
    pub(super) async fn find(&self, request: Built) -> Result<Option<Value>, ApiError> {
        match self.send(request).await {
            Ok(object) => Ok(Some(object)),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn exchange(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> kube::Result<(StatusCode, bytes::Bytes)> {
        let answer = self.client.send(request.map(Body::from)).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

/// What an answer that is no success means: above all, whether anything was done.
fn refusal(status: StatusCode, body: &Value) -> ApiError {
    let reason = body["reason"].as_str().unwrap_or_default();
    let message = scrub(body["message"].as_str().unwrap_or_default());
    match (status.as_u16(), reason) {
        // Without a name it is the kind that is not there: a definition that was taken away.
        (404, _) if body["details"]["name"].is_string() => ApiError::NotFound,
        (404, _) => ApiError::Unavailable("the API server does not know the kind".to_owned()),
        (409, "AlreadyExists") => ApiError::AlreadyExists,
        (409, _) => ApiError::Conflict,
        (403, _) => ApiError::Forbidden(message),
        (401, _) => {
            ApiError::Unavailable("the API server does not accept our credentials".to_owned())
        }
        (429 | 503, _) => ApiError::Unavailable(message),
        // Of a webhook that does not answer, above all, the message alone tells.
        (500..=599, _) if !message.is_empty() => {
            ApiError::Unknown(format!("status {status}: {message}"))
        }
        (500..=599, _) => ApiError::Unknown(format!("status {status}")),
        _ => ApiError::Invalid(message),
    }
}

/// The API server's words without anything that may be secret, and not too many.
pub(super) fn scrub(message: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '/' | '=');
    let mut scrubbed = String::with_capacity(message.len().min(LONGEST_MESSAGE));
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c| is_word(c) != is_word(first))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if is_word(first) && run.len() >= LONGEST_WORD {
            scrubbed.push('…');
        } else {
            scrubbed.extend(run.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        rest = after;
    }
    if let Some((end, _)) = scrubbed.char_indices().nth(LONGEST_MESSAGE) {
        scrubbed.truncate(end);
        scrubbed.push('…');
    }
    scrubbed
}

/// What went wrong on the way, without the address, which may hold names.
fn transport(error: &kube::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    scrub(&deepest.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_tells_whether_anything_was_done() {
        let named = json!({"reason": "NotFound", "details": {"name": "a"}});
        let exists = json!({"reason": "AlreadyExists", "details": {"name": "a"}});
        for (code, body, expected) in [
            (404, &named, ApiError::NotFound),
            (
                404,
                &json!({"reason": "NotFound", "details": {}}),
                ApiError::Unavailable("the API server does not know the kind".into()),
            ),
            (
                404,
                &Value::Null,
                ApiError::Unavailable("the API server does not know the kind".into()),
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

    #[test]
    fn nothing_that_may_be_secret_is_repeated() {
        let token = "symsat_0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijk";
        let said = scrub(&format!(
            "webhook said: {token}\nand c3ltc2F0XzAxMjM0NTY3ODlhYmNkZWZBQg==!"
        ));
        assert_eq!(said, "webhook said: … and …!");
        let usual = r#"secrets "web-token" is forbidden: User "system:serviceaccount:symbolon:operator" cannot create resource "secrets" in API group """#;
        assert_eq!(scrub(usual), usual);
        assert_eq!(
            scrub(&"ä ".repeat(4000)).chars().count(),
            LONGEST_MESSAGE + 1
        );
    }
}
