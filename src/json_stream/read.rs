//! Reads the body of a response chunk by chunk.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;

/// The most bytes read of an error response.
const LONGEST_REFUSAL: usize = 64 << 10;

/// Waits for the next chunk; `None` at the end. Cancelling the wait loses no data.
///
/// # Errors
/// Errors of the body.
pub async fn chunk<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    loop {
        match body.frame().await? {
            Ok(frame) => {
                // A frame without data is a trailer.
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Reads an API server's error response, up to 64 KiB.
///
/// # Errors
/// Errors of the body.
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
