//! Any input gets an answer and causes no panic.

use proptest::prelude::*;

use super::*;

fn any_path() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        TOKEN,
        INTROSPECT,
        REVOKE,
        "/id/connect/checktoken/api",
        "/id/connect/checktoken",
        "/id/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/id",
    ]);
    prop_oneof![
        known.clone().prop_map(str::to_owned),
        (known, "[/?&=%a-z0-9._~+-]{0,40}").prop_map(|(path, more)| format!("{path}?{more}")),
        "/[/?&=%a-zA-Z0-9._~+-]{0,60}",
    ]
}

fn any_header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "authorization",
        "content-type",
        "content-length",
        "x-api-key",
        "api-key",
        "if-none-match",
        "x-request-id",
        "traceparent",
        "host",
    ]);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        "Basic [A-Za-z0-9+/=]{0,40}".prop_map(String::into_bytes),
        "Bearer [A-Za-z0-9._-]{0,40}".prop_map(String::into_bytes),
        Just(b"application/x-www-form-urlencoded".to_vec()),
    ];
    (name, value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_request_panics(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "OPTIONS", "HEAD", "X"]),
        path in any_path(),
        headers in prop::collection::vec(any_header(), 0..6),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "((token|grant_type|scope|resource|client_id|client_secret)=[a-z%+.0-9]{0,20}&?){0,6}".prop_map(String::into_bytes),
        ],
    ) {
        let fixture = Fixture::new();
        let mut request = Request::builder().method(method).uri(&path);
        for (name, value) in headers {
            if let Ok(value) = axum::http::HeaderValue::from_bytes(&value) {
                request = request.header(name, value);
            }
        }
        if let Ok(request) = request.body(Body::from(body)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let reply = runtime.block_on(fixture.send(request));
            prop_assert!(reply.status.as_u16() < 500, "{reply}");
        }
    }
}
