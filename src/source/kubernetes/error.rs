//! Why a list or a watch failed.

use crate::json_stream::MalformedResponse;
use crate::kube_call::KubeFault;

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    #[error(transparent)]
    Kube(#[from] KubeFault),
    #[error("the API server did not respond in time")]
    Timeout,
    #[error("the API server sent a list that is not JSON or is incomplete")]
    Malformed,
    #[error("the watch received nothing for too long")]
    Silent,
    #[error("the watch ended right after its start")]
    Brief,
    #[error("the API server sent a list without a resourceVersion")]
    NoVersion,
    #[error("the API server ended the watch: {reason} ({code})")]
    Ended { code: u16, reason: String },
}

impl WatchError {
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(fault) => fault.code(),
            Self::Ended { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl From<kube::core::request::Error> for WatchError {
    fn from(error: kube::core::request::Error) -> Self {
        Self::Kube(error.into())
    }
}

impl From<MalformedResponse> for WatchError {
    fn from(_: MalformedResponse) -> Self {
        Self::Malformed
    }
}
