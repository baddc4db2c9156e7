//! Turns kube's errors into texts that are safe to log, by kind. Pure, except that it asks which paths exist.
//!
//! A kind that is not listed gets a fixed text, so a new kind in a release of kube leaks nothing.

use std::error::Error;
use std::{fmt, io};

use kube::client::{AuthError, RustlsTlsError};
use kube::config::{InClusterError, KubeconfigError, LoadDataError};
use kube::core::Status;

use super::path::shown;
use super::scrub::scrub;

/// Why a call of the Kubernetes client failed. `Display` and `Debug` are safe to log, and there is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KubeFault(Kind);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Kind {
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Ended(String),
    #[error("{0}")]
    Other(String),
}

/// An error response of the API server, scrubbed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status code.
    pub code: u16,
    /// The reason, such as `Forbidden`.
    pub reason: String,
    /// The message, without words that may be secret.
    pub message: String,
    /// The plural of the kind that the request named, if the response states it.
    pub kind: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "the API server answered {}", self.code)
        } else {
            write!(f, "{} ({})", self.reason, self.code)
        }
    }
}

impl Refusal {
    fn of(status: &Status) -> Self {
        let kind = status.details.as_ref().map(|details| scrub(&details.kind));
        Self {
            code: status.code,
            reason: scrub(&status.reason),
            message: scrub(&status.message),
            kind: kind.unwrap_or_default(),
        }
    }
}

impl KubeFault {
    /// Returns the fault of an error response with this body, which need not be a `Status`.
    pub fn refused(code: u16, body: &[u8]) -> Self {
        let status = serde_json::from_slice::<Status>(body).unwrap_or_default();
        Self(Kind::Refused(Refusal::of(&status.with_code(code))))
    }

    /// Returns the API server's error response, if it is the cause.
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.0 {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Ended(_) | Kind::Other(_) => None,
        }
    }

    /// Returns the status code of the API server's error response.
    pub fn code(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.code)
    }

    /// Returns whether a body ended without the end mark of its transport, which is usual for a watch behind a load
    /// balancer.
    pub fn is_end_of_body(&self) -> bool {
        matches!(self.0, Kind::Ended(_))
    }

    /// Returns a fault with a text that contains nothing of a kube error, a file or a response.
    pub(super) fn stated(text: impl Into<String>) -> Self {
        Self(Kind::Other(text.into()))
    }

    /// Returns the fault of a kubeconfig. `place` names its file.
    pub(super) fn of_kubeconfig(error: &KubeconfigError, place: &str) -> Self {
        Self::stated(kubeconfig(error, place))
    }
}

impl From<kube::Error> for KubeFault {
    fn from(error: kube::Error) -> Self {
        use kube::Error as Kube;
        match error {
            Kube::Api(status) => Self(Kind::Refused(Refusal::of(&status))),
            Kube::HyperError(error) => transport(&error),
            Kube::ReadEvents(error) => transport(&error),
            Kube::Service(error) => service(&*error),
            Kube::HttpError(_) => Self::stated("the request has an invalid URL or header"),
            Kube::BuildRequest(error) => error.into(),
            Kube::Auth(error) => Self::stated(auth(&error)),
            Kube::RustlsTls(error) => Self::stated(tls(&error)),
            Kube::InferKubeconfig(error) => Self::of_kubeconfig(&error, "the kubeconfig"),
            Kube::SerdeError(_) | Kube::FromUtf8(_) => Self::stated("the response is not JSON"),
            _ => Self::stated("the Kubernetes client failed"),
        }
    }
}

impl From<kube::core::request::Error> for KubeFault {
    fn from(error: kube::core::request::Error) -> Self {
        use kube::core::request::Error as Unbuilt;
        Self::stated(match error {
            Unbuilt::BuildRequest(_) => "the request has an invalid URL or header".to_owned(),
            Unbuilt::SerializeBody(_) => {
                "the request's object cannot be written as JSON".to_owned()
            }
            Unbuilt::Validation(words) => format!("invalid request: {}", scrub(&words)),
        })
    }
}

impl From<InClusterError> for KubeFault {
    fn from(error: InClusterError) -> Self {
        Self::stated(match error {
            InClusterError::ReadDefaultNamespace(error) => {
                format!(
                    "cannot read the service account's namespace: {}",
                    words(&error)
                )
            }
            InClusterError::ReadEnvironmentVariable(_) => {
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set".to_owned()
            }
            InClusterError::ReadCertificateBundle(error) => {
                format!(
                    "cannot read the service account's ca.crt: {}",
                    words(&error)
                )
            }
            InClusterError::ParseClusterPort(_) | InClusterError::ParseClusterUrl(_) => {
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not form a valid address"
                    .to_owned()
            }
            InClusterError::ParseCertificates(_) => {
                "the service account's ca.crt is not PEM".to_owned()
            }
        })
    }
}

/// Returns the fault of an error of the client's stack: that of the credentials or of the transport.
fn service(error: &(dyn Error + Send + Sync + 'static)) -> KubeFault {
    if let Some(error) = error.downcast_ref::<AuthError>() {
        return KubeFault::stated(auth(error));
    }
    let is_transport = error.is::<hyper_util::client::legacy::Error>()
        || error.is::<hyper::Error>()
        || error.is::<io::Error>();
    if is_transport {
        transport(error)
    } else {
        KubeFault::stated("the request could not be sent")
    }
}

/// Returns the cause of a transport error, without the URL, which may contain names.
fn transport(error: &(dyn Error + 'static)) -> KubeFault {
    let is_end = |error: &(dyn Error + 'static)| {
        let io = error.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
            || error.to_string().contains("unexpected EOF during chunk")
    };
    let (mut deepest, mut ended) = (error, is_end(error));
    while let Some(source) = deepest.source() {
        deepest = source;
        ended |= is_end(source);
    }
    let text = scrub(&deepest.to_string());
    KubeFault(if ended {
        Kind::Ended(text)
    } else {
        Kind::Other(text)
    })
}

fn auth(error: &AuthError) -> String {
    let fixed = match error {
        AuthError::AuthExecRun { out, .. } => {
            return match out.status.code() {
                Some(code) => format!(
                    "the exec plugin of the kubeconfig failed with exit status {code}: run it by hand to see its output"
                ),
                None => "a signal ended the exec plugin of the kubeconfig: run it by hand to see its output".to_owned(),
            };
        }
        AuthError::AuthExecStart(error) => {
            return format!(
                "cannot start the exec plugin of the kubeconfig: {}",
                words(error)
            );
        }
        AuthError::ReadTokenFile(error, path) => {
            return format!(
                "cannot read the token file {}: {}",
                shown(path),
                words(error)
            );
        }
        AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => {
            "the output of the kubeconfig's exec plugin cannot be decoded: run it by hand to see its output"
        }
        AuthError::ExecPluginFailed => {
            "the ExecCredential of the kubeconfig's exec plugin has no status: run it by hand to see its output"
        }
        AuthError::MalformedTokenExpirationDate(_) => {
            "the expiry of the kubeconfig's token is not a time of RFC 3339"
        }
        AuthError::UnrefreshableTokenResponse => {
            "the exec plugin of the kubeconfig returned another kind of credential than before"
        }
        AuthError::MissingCommand => "the exec plugin of the kubeconfig has no command",
        AuthError::ExecMissingClusterInfo => {
            "the exec plugin of the kubeconfig needs a cluster, and the context names none"
        }
        AuthError::InvalidBearerToken(_) | AuthError::InvalidBasicAuth(_) => {
            "the token contains a line break or another character that a header cannot contain"
        }
        AuthError::AuthExec(_) => {
            "the auth-provider of the kubeconfig failed or is not supported: use an exec plugin"
        }
        _ => "the credentials of the kubeconfig cannot be used",
    };
    fixed.to_owned()
}

fn tls(error: &RustlsTlsError) -> String {
    let fixed = match error {
        RustlsTlsError::MissingPrivateKey => {
            "the client key of the kubeconfig is not a key in PEM (PKCS #8 or PKCS #1)"
        }
        RustlsTlsError::MissingCertificate => "the client certificate of the kubeconfig is empty",
        RustlsTlsError::InvalidPrivateKey(_) | RustlsTlsError::UnknownPrivateKeyFormat => {
            "the client key of the kubeconfig cannot be used, or does not belong to its certificate"
        }
        RustlsTlsError::InvalidIdentityPem(_) => {
            "the client certificate or key of the kubeconfig is not PEM"
        }
        RustlsTlsError::AddRootCertificate(_) => "the API server's CA cannot be used",
        RustlsTlsError::InvalidServerName(_) => {
            "tls-server-name of the kubeconfig is not a host name"
        }
        RustlsTlsError::NoValidNativeRootCA(_) => "the system's CA certificates cannot be read",
    };
    fixed.to_owned()
}

fn kubeconfig(error: &KubeconfigError, place: &str) -> String {
    let field = |name: &str, error: &LoadDataError| match error {
        LoadDataError::ReadFile(error, path) => {
            format!(
                "{place}: cannot read {name} {}: {}",
                shown(path),
                words(error)
            )
        }
        LoadDataError::DecodeBase64(_) => format!("{place}: {name} is not base64"),
        LoadDataError::NoBase64DataOrFile => format!("{place}: {name} is missing"),
    };
    match error {
        // The parser's own message quotes the lines around the fault, which may contain a token or a key.
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!(
                "{place}, line {}, column {}: not YAML, or not the fields of a kubeconfig",
                at.line(),
                at.column()
            ),
            None => format!("{place}: not YAML, or not the fields of a kubeconfig"),
        },
        KubeconfigError::ReadConfig(error, _) => format!("cannot read {place}: {}", words(error)),
        KubeconfigError::CurrentContextNotSet => format!("{place}: current-context is not set"),
        KubeconfigError::LoadContext(name) => format!("{place}: there is no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("{place}: there is no cluster {name:?}")
        }
        KubeconfigError::FindPath => "there is no home directory".to_owned(),
        KubeconfigError::KindMismatch => format!("{place}: another kind than the files before it"),
        KubeconfigError::ApiVersionMismatch => {
            format!("{place}: another apiVersion than the files before it")
        }
        KubeconfigError::MissingClusterUrl => format!("{place}: the cluster has no server"),
        KubeconfigError::ParseClusterUrl(_) => format!("{place}: server is not a URL"),
        KubeconfigError::ParseProxyUrl(_) => format!("{place}: proxy-url is not a URL"),
        KubeconfigError::LoadCertificateAuthority(error) => field("certificate-authority", error),
        KubeconfigError::LoadClientCertificate(error) => field("client-certificate", error),
        KubeconfigError::LoadClientKey(error) => field("client-key", error),
        KubeconfigError::ParseCertificates(_) => {
            format!("{place}: certificate-authority is not PEM")
        }
        #[allow(unreachable_patterns, reason = "kube's features add kinds")]
        _ => format!("{place}: cannot be used"),
    }
}

/// Returns the text of an error of the system, and only the kind of any other: its text may quote a file.
fn words(error: &io::Error) -> String {
    if error.raw_os_error().is_some() {
        error.to_string()
    } else {
        error.kind().to_string()
    }
}
