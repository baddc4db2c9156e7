//! Which authorization requests are accepted, and where a refusal goes.

use rstest::rstest;

use super::*;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const URIS: [&str; 2] = ["https://app.example.com/cb", "http://localhost/cb"];
const PUBLIC: Registration<'_> = Registration {
    redirect_uris: &URIS,
    response_types: &ResponseType::ALL,
    needs_pkce: true,
    needs_par: false,
};

/// A complete request, with some parameters changed, added (`name=value`) or removed (`name`).
fn query(changes: &[&str]) -> String {
    let mut pairs: Vec<(String, String)> = [
        ("response_type", "code"),
        ("redirect_uri", URIS[0]),
        ("scope", "openid profile"),
        ("state", "s1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for change in changes {
        let (name, value) = change.split_once('=').unwrap_or((change, ""));
        pairs.retain(|(known, _)| known != name);
        pairs.push((name.to_owned(), value.to_owned()));
    }
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn checked(changes: &[&str], client: &Registration<'_>) -> Result<AuthorizationRequest, Refused> {
    let query = query(changes);
    check(&Form::parse(query.as_bytes()).unwrap(), client, false)
}

fn accepted(changes: &[&str]) -> AuthorizationRequest {
    checked(changes, &PUBLIC).unwrap()
}

#[test]
fn a_complete_request_is_accepted() {
    let request = accepted(&["nonce=n", "ui_locales=de en", "login_hint=alice"]);
    assert_eq!(request.return_to.redirect_uri, URIS[0]);
    assert_eq!(request.return_to.mode, ResponseMode::Query);
    assert_eq!(request.return_to.state.as_deref(), Some("s1"));
    assert_eq!(request.scopes, ["openid", "profile"]);
    assert!(request.is_openid() && request.named_redirect_uri);
    assert_eq!(request.challenge, Challenge::parse(CHALLENGE).ok());
    assert_eq!(request.nonce.as_deref(), Some("n"));
    assert_eq!(request.ui_locales, ["de", "en"]);
    assert_eq!(request.login_hint.as_deref(), Some("alice"));
}

/// The seal of a flow and a pushed request keep it as JSON.
#[test]
fn a_request_reads_back_from_json() {
    let request = accepted(&[
        "claims={\"id_token\":{\"acr\":{\"essential\":true,\"values\":[\"a\"]}}}",
        "max_age=0",
        "prompt=login consent",
        "resource=https://api.example.com",
    ]);
    let json = serde_json::to_string(&request).unwrap();
    assert_eq!(
        serde_json::from_str::<AuthorizationRequest>(&json).unwrap(),
        request
    );
}

#[rstest]
#[case::missing(&["redirect_uri"])]
#[case::unknown(&["redirect_uri=https://evil.example.com/cb"])]
#[case::unknown_with_every_other_fault(&["redirect_uri=https://evil.example.com/cb", "response_type=x", "request=x"])]
fn without_a_registered_redirect_uri_a_page_is_shown(#[case] changes: &[&str]) {
    let refused = checked(changes, &PUBLIC).unwrap_err();
    assert!(matches!(refused, Refused::Page(_)), "{refused:?}");
}

#[test]
fn the_only_redirect_uri_may_be_omitted_without_openid() {
    let client = Registration {
        redirect_uris: &URIS[..1],
        ..PUBLIC
    };
    let request = checked(&["redirect_uri", "scope=orders.read"], &client).unwrap();
    assert_eq!(request.return_to.redirect_uri, URIS[0]);
    assert!(!request.named_redirect_uri);
    let refused = checked(&["redirect_uri"], &client).unwrap_err();
    assert!(matches!(refused, Refused::Page(_)), "{refused:?}");
}

#[rstest]
#[case::no_type(&["response_type"], ErrorCode::InvalidRequest)]
#[case::implicit(&["response_type=token"], ErrorCode::UnsupportedResponseType)]
#[case::id_token_alone(&["response_type=id_token"], ErrorCode::UnsupportedResponseType)]
#[case::hybrid_with_token(&["response_type=code id_token token", "nonce=n"], ErrorCode::UnsupportedResponseType)]
#[case::repeated_word(&["response_type=code code"], ErrorCode::UnsupportedResponseType)]
#[case::no_nonce(&["response_type=code id_token"], ErrorCode::InvalidRequest)]
#[case::hybrid_in_a_query(&["response_type=code id_token", "nonce=n", "response_mode=query"], ErrorCode::InvalidRequest)]
#[case::hybrid_without_openid(&["response_type=code id_token", "nonce=n", "scope=profile"], ErrorCode::InvalidScope)]
#[case::unknown_mode(&["response_mode=query.jwt"], ErrorCode::InvalidRequest)]
#[case::no_challenge(&["code_challenge", "code_challenge_method"], ErrorCode::InvalidRequest)]
#[case::method_without_challenge(&["code_challenge"], ErrorCode::InvalidRequest)]
#[case::plain(&["code_challenge_method=plain"], ErrorCode::InvalidRequest)]
#[case::plain_by_default(&["code_challenge_method"], ErrorCode::InvalidRequest)]
#[case::no_hash(&["code_challenge=abc"], ErrorCode::InvalidRequest)]
#[case::none_and_login(&["prompt=none login"], ErrorCode::InvalidRequest)]
#[case::none_and_unknown(&["prompt=none x"], ErrorCode::InvalidRequest)]
#[case::negative_age(&["max_age=-1"], ErrorCode::InvalidRequest)]
#[case::signed_age(&["max_age=+1"], ErrorCode::InvalidRequest)]
#[case::fractional_age(&["max_age=1.5"], ErrorCode::InvalidRequest)]
#[case::age_beyond_all_bounds(&["max_age=99999999999999999999"], ErrorCode::InvalidRequest)]
#[case::malformed_claims(&["claims=x"], ErrorCode::InvalidRequest)]
#[case::request_object(&["request=eyJ"], ErrorCode::RequestNotSupported)]
#[case::request_by_reference(&["request_uri=https://app.example.com/r"], ErrorCode::RequestUriNotSupported)]
#[case::registration(&["registration={}"], ErrorCode::RegistrationNotSupported)]
fn any_other_fault_goes_to_the_client(#[case] changes: &[&str], #[case] code: ErrorCode) {
    let Err(Refused::Client(to, fault)) = checked(changes, &PUBLIC) else {
        panic!("accepted, or shown on a page");
    };
    assert_eq!(fault.code, code, "{fault}");
    assert_eq!(to.redirect_uri, URIS[0]);
    assert_eq!(to.state.as_deref(), Some("s1"));
}

#[rstest]
#[case::code(&["response_type=x"], ResponseMode::Query)]
#[case::hybrid(&["response_type=code id_token"], ResponseMode::Fragment)]
#[case::hybrid_that_asked_for_a_query(&["response_type=code id_token", "response_mode=query"], ResponseMode::Fragment)]
#[case::as_asked(&["response_type=x", "response_mode=form_post"], ResponseMode::FormPost)]
#[case::unknown(&["response_mode=x"], ResponseMode::Query)]
fn a_refusal_uses_the_mode_of_the_request_where_it_may(
    #[case] changes: &[&str],
    #[case] mode: ResponseMode,
) {
    let Err(Refused::Client(to, _)) = checked(changes, &PUBLIC) else {
        panic!("accepted, or shown on a page");
    };
    assert_eq!(to.mode, mode);
}

#[test]
fn the_words_of_a_response_type_have_no_order() {
    for kind in ["code id_token", "id_token code"] {
        let request = accepted(&[&format!("response_type={kind}"), "nonce=n"]);
        assert_eq!(request.response_type, ResponseType::CodeIdToken);
        assert_eq!(request.return_to.mode, ResponseMode::Fragment);
    }
}

#[test]
fn a_client_uses_only_its_response_types() {
    let client = Registration {
        response_types: &[ResponseType::Code],
        ..PUBLIC
    };
    let Err(Refused::Client(_, fault)) =
        checked(&["response_type=code id_token", "nonce=n"], &client)
    else {
        panic!("accepted");
    };
    assert_eq!(fault.code, ErrorCode::UnauthorizedClient);
}

#[test]
fn a_client_that_need_not_use_pkce_may() {
    let client = Registration {
        needs_pkce: false,
        ..PUBLIC
    };
    let without = ["code_challenge", "code_challenge_method"];
    assert_eq!(checked(&without, &client).unwrap().challenge, None);
    assert!(checked(&[], &client).unwrap().challenge.is_some());
    assert!(checked(&["code_challenge_method=plain"], &client).is_err());
}

#[test]
fn a_client_that_must_push_its_requests_has_others_refused() {
    let client = Registration {
        needs_par: true,
        ..PUBLIC
    };
    assert!(checked(&[], &client).is_err());
    let query = query(&[]);
    let form = Form::parse(query.as_bytes()).unwrap();
    assert!(check(&form, &client, true).is_ok());
}

#[test]
fn unknown_parameters_and_values_never_fail() {
    let request = accepted(&[
        "foo=bar",
        "display=touch",
        "prompt=create",
        "acr_values=x y",
        "ui_locales=xx",
    ]);
    assert_eq!(request.prompts, Prompts::default());
    assert_eq!(request.acr_values, ["x", "y"]);
}

#[rstest]
#[case::none("none", |prompts: &mut Prompts| prompts.none = true)]
#[case::login("login", |prompts: &mut Prompts| prompts.login = true)]
#[case::consent("consent", |prompts: &mut Prompts| prompts.consent = true)]
#[case::select_account("select_account", |prompts: &mut Prompts| prompts.select_account = true)]
#[case::two("login consent", |prompts: &mut Prompts| (prompts.login, prompts.consent) = (true, true))]
#[case::unknown("login x", |prompts: &mut Prompts| prompts.login = true)]
fn each_prompt_is_read(#[case] value: &str, #[case] set: fn(&mut Prompts)) {
    let mut prompts = Prompts::default();
    set(&mut prompts);
    assert_eq!(accepted(&[&format!("prompt={value}")]).prompts, prompts);
}

#[rstest]
#[case::none("max_age", None)]
#[case::at_once("max_age=0", Some(0))]
#[case::an_hour("max_age=3600", Some(3600))]
fn the_age_of_a_sign_in_is_read(#[case] change: &str, #[case] age: Option<u64>) {
    assert_eq!(accepted(&[change]).max_age, age);
}

#[test]
fn lists_of_preferences_are_cut() {
    let long = format!("acr_values={}", "a ".repeat(MAX_LISTED + 1));
    assert_eq!(accepted(&[&long]).acr_values.len(), MAX_LISTED);
}

/// The store keeps what is pushed, by anyone for a public client.
#[rstest]
#[case::state("state", 2048)]
#[case::nonce("nonce", 2048)]
#[case::login_hint("login_hint", 2048)]
#[case::ui_locales("ui_locales", 2048)]
#[case::acr_values("acr_values", 2048)]
#[case::scope("scope", 8192)]
#[case::id_token_hint("id_token_hint", jwt::MAX_LENGTH)]
#[case::resource("resource", 2048)]
fn a_text_that_is_longer_than_any_sensible_one_is_refused(#[case] name: &str, #[case] most: usize) {
    let of = |length: usize| format!("{name}={}", "x".repeat(length));
    accepted(&[&of(most)]);
    assert!(matches!(
        checked(&[&of(most + 1)], &PUBLIC),
        Err(Refused::Client(..))
    ));
}

/// JSON writes a control character as six bytes, and a parameter may consist of them.
#[rstest]
#[case::control_characters("\u{1}", 2700)]
#[case::quotation_marks("\"", 8000)]
#[case::letters("x", 15_700)]
fn a_request_is_kept_only_if_its_stored_form_is_short_enough(
    #[case] worst: &str,
    #[case] most: usize,
) {
    let kept = |length: usize| {
        let mut rest = length;
        let mut take = |most: usize| {
            let taken = rest.min(most);
            rest -= taken;
            worst.repeat(taken)
        };
        let names = ["state", "nonce", "login_hint"];
        let mut changes = names
            .map(|name| format!("{name}={}", take(MAX_TEXT)))
            .to_vec();
        changes.push(format!("id_token_hint={}", take(jwt::MAX_LENGTH)));
        changes.push(format!("scope={}", take(MAX_SCOPE)));
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        accepted(&changes).to_stored()
    };
    assert!(kept(most - 400).unwrap().len() <= MAX_STORED);
    let refused = kept(most + 400).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
    assert!(refused.description.contains("16 KiB"), "{refused:?}");
}

#[test]
fn a_request_names_only_so_many_resources() {
    let of = |number: usize| {
        let pair = "&resource=https%3A%2F%2Fapi.example.com";
        let query = query(&[]) + &pair.repeat(number);
        check(&Form::parse(query.as_bytes()).unwrap(), &PUBLIC, true).is_ok()
    };
    assert!(of(MAX_RESOURCES));
    assert!(!of(MAX_RESOURCES + 1));
}

/// A client that asks for a token in the answer reads the fragment.
#[rstest]
#[case("token", ResponseMode::Fragment)]
#[case("id_token", ResponseMode::Fragment)]
#[case("id_token token", ResponseMode::Fragment)]
#[case("code token", ResponseMode::Fragment)]
#[case("none", ResponseMode::Query)]
#[case("tokens", ResponseMode::Query)]
fn the_error_about_an_unsupported_type_is_where_its_client_looks(
    #[case] kind: &str,
    #[case] mode: ResponseMode,
) {
    let refused = checked(&[&format!("response_type={kind}")], &PUBLIC);
    let Err(Refused::Client(to, error)) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!(error.code, ErrorCode::UnsupportedResponseType);
    assert_eq!(to.mode, mode);
}
