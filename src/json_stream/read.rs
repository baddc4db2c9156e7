//! Chunks of an answer's body, as they come.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;

/// The most bytes of an answer that is no success.
const LONGEST_REFUSAL: usize = 64 << 10;

/// Waits for the next chunk; `None` at the end. Nothing is lost where the wait is given up.
///
/// # Errors
/// The body's own.
pub async fn chunk<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    loop {
        match body.frame().await? {
            Ok(frame) => {
                // What is not data is a trailer.
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Reads what an API server says of a request that it refuses: at most 64 KiB of it.
///
/// # Errors
/// The body's own.
pub async fn refusal<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Vec<u8>, B::Error> {
    let mut said = Vec::new();
    while said.len() < LONGEST_REFUSAL
        && let Some(chunk) = chunk(body).await
    {
        let chunk = chunk?;
        let room = LONGEST_REFUSAL - said.len();
        said.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(said)
}
