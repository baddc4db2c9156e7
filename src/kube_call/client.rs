//! Sends requests.

use http::{Request, Response};
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::client::Body;
use kube::runtime::events::{Event, Recorder, Reporter};
use serde_json::Value;
use tower::{BoxError, Service};

use super::fault::KubeFault;

/// The maximum length of a response to [`Client::request`] in bytes, above that of any stored object.
const LONGEST: usize = 4 << 20;

/// The body of a response.
pub type ResponseBody = MapErr<Body, fn(kube::Error) -> KubeFault>;

/// A client of the Kubernetes API, without kube's functions that return unsafe errors.
#[derive(Clone)]
pub struct Client(kube::Client);

impl From<kube::Client> for Client {
    fn from(client: kube::Client) -> Self {
        Self(client)
    }
}

impl Client {
    /// Returns a client that sends its requests to `service`.
    pub fn new<S, B>(service: S, default_namespace: &str) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(kube::Client::new(service, default_namespace))
    }

    /// Returns the namespace of the kubeconfig's context, or of the pod.
    pub fn default_namespace(&self) -> &str {
        self.0.default_namespace()
    }

    /// Sends a request and waits for the beginning of its response, whatever its status.
    ///
    /// # Errors
    /// [`KubeFault`] if the request could not be sent, or no response came.
    pub async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<ResponseBody>, KubeFault> {
        let response = self.0.send(request.map(Body::from)).await?;
        let safe: fn(kube::Error) -> KubeFault = KubeFault::from;
        Ok(response.map(|body| body.map_err(safe)))
    }

    /// Sends a request and returns the JSON of its response. kube's own function logs a response that is not JSON.
    ///
    /// # Errors
    /// [`KubeFault`], also for every status that is not a success.
    pub async fn request(&self, request: Request<Vec<u8>>) -> Result<Value, KubeFault> {
        let response = self.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| match error.downcast::<KubeFault>() {
            Ok(fault) => *fault,
            Err(_) => KubeFault::stated("the response is too large"),
        })?;
        let body = body.to_bytes();
        if !status.is_success() {
            return Err(KubeFault::refused(status.as_u16(), &body));
        }
        serde_json::from_slice(&body).map_err(|_| KubeFault::stated("the response is not JSON"))
    }

    /// Returns a recorder of Events in the name of `reporter`.
    pub fn recorder(&self, reporter: Reporter) -> EventRecorder {
        EventRecorder(Recorder::new(self.0.clone(), reporter))
    }
}

/// Writes Events, and merges repeated ones.
pub struct EventRecorder(Recorder);

impl EventRecorder {
    /// Writes an Event about an object.
    ///
    /// # Errors
    /// [`KubeFault`] if it was not written.
    pub async fn publish(
        &self,
        event: &Event,
        regarding: &ObjectReference,
    ) -> Result<(), KubeFault> {
        Ok(self.0.publish(event, regarding).await?)
    }
}
