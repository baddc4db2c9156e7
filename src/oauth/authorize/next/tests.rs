//! Which step follows: the rules one by one, then all of them over every combination.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::oauth::authorize::claims::ClaimsRequest;
use crate::oauth::authorize::request::Prompts;
use crate::oauth::authorize::{ResponseMode, ResponseType, ReturnTo};

const SCOPES: [&str; 3] = ["openid", "email", OFFLINE_ACCESS];
const CLAIMS: [&str; 2] = ["email", "email_verified"];
const ME: &str = "me";

/// These scopes, and every claim that they release.
fn allowed(scopes: &[&'static str]) -> &'static Allowed<'static> {
    Box::leak(Box::new(Allowed {
        scopes: scopes.to_vec(),
        claims: CLAIMS.to_vec(),
    }))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(letter: &str) -> TokenId {
    letter.repeat(16).parse().unwrap()
}

fn request() -> AuthorizationRequest {
    AuthorizationRequest {
        return_to: ReturnTo {
            redirect_uri: "https://app.example.com/cb".to_owned(),
            mode: ResponseMode::Query,
            state: None,
        },
        named_redirect_uri: true,
        response_type: ResponseType::Code,
        scopes: SCOPES.map(str::to_owned).into(),
        resources: Vec::new(),
        challenge: None,
        nonce: None,
        prompts: Prompts::default(),
        max_age: None,
        login_hint: None,
        id_token_hint: None,
        ui_locales: Vec::new(),
        acr_values: Vec::new(),
        claims: ClaimsRequest::default(),
    }
}

fn asking(change: impl FnOnce(&mut AuthorizationRequest)) -> AuthorizationRequest {
    let mut request = request();
    change(&mut request);
    request
}

fn claims(id_token: serde_json::Value) -> ClaimsRequest {
    ClaimsRequest::parse(&json!({"id_token": id_token}).to_string()).unwrap()
}

/// I signed in by password at 100 and have allowed everything. It is 1000.
fn session() -> Session<'static> {
    Session {
        id: id("S"),
        subject: ME,
        authenticated_at: at(100),
        acr: Acr::Pwd,
        standing: Standing::Allowed,
        remembered: allowed(&SCOPES),
    }
}

fn situation(request: &AuthorizationRequest) -> Situation<'_> {
    Situation {
        request,
        scopes: &SCOPES,
        claims: &CLAIMS,
        client: ClientPolicy {
            consent: ConsentPolicy::Remember,
            minimum_acr: None,
            max_auth_age: None,
            may_refresh: true,
        },
        hint: IdTokenHint::Absent,
        strongest: Acr::Mfa,
        session: Some(session()),
        signed_in: None,
        given: None,
        now: at(1000),
    }
}

/// The situation after a sign-in for this request, at 990.
fn after_sign_in(request: &AuthorizationRequest) -> Situation<'_> {
    let situation = situation(request);
    Situation {
        session: Some(Session {
            authenticated_at: at(990),
            ..session()
        }),
        signed_in: Some(SignedIn {
            session: id("S"),
            at: at(990),
        }),
        ..situation
    }
}

fn sign_in(reason: Reason, person: Person<'_>) -> Step<'_> {
    Step::SignIn(SignIn {
        reason,
        person,
        acr: None,
    })
}

fn error(step: &Step<'_>) -> Option<ErrorCode> {
    match step {
        Step::Refuse(fault) => Some(fault.code),
        _ => None,
    }
}

fn permission(step: Step<'_>) -> Permission<'_> {
    match step {
        Step::Code(permission) => *permission,
        other => panic!("no code: {other:?}"),
    }
}

#[test]
fn a_person_who_has_signed_in_and_allowed_everything_gets_a_code_without_a_page() {
    let request = request();
    for request in [&request, &asking(|request| request.prompts.none = true)] {
        let permission = permission(next(&situation(request)));
        assert_eq!((permission.subject, permission.session), (ME, id("S")));
        assert_eq!(permission.scopes, SCOPES);
        assert_eq!(permission.acr, "pwd");
        assert_eq!(permission.remember, None, "nothing new was allowed");
    }
}

#[rstest]
#[case::plain(None, Person::Any)]
#[case::with_a_hint(Some("alice"), Person::Hinted("alice"))]
fn without_a_session_the_person_signs_in(#[case] hint: Option<&str>, #[case] person: Person<'_>) {
    let request = asking(|request| request.login_hint = hint.map(str::to_owned));
    let without = Situation {
        session: None,
        ..situation(&request)
    };
    assert_eq!(next(&without), sign_in(Reason::NoSession, person));
}

#[test]
fn a_disabled_person_has_no_session() {
    let request = request();
    let disabled = Situation {
        session: Some(Session {
            standing: Standing::Disabled,
            ..session()
        }),
        ..situation(&request)
    };
    assert_eq!(next(&disabled), sign_in(Reason::NoSession, Person::Any));
}

#[rstest]
#[case::login(|request: &mut AuthorizationRequest| request.prompts.login = true, Reason::Asked, Person::Again(ME))]
#[case::no_age(|request: &mut AuthorizationRequest| request.max_age = Some(0), Reason::Asked, Person::Again(ME))]
#[case::select_account(|request: &mut AuthorizationRequest| request.prompts.select_account = true, Reason::Asked, Person::Any)]
#[case::too_old(|request: &mut AuthorizationRequest| request.max_age = Some(899), Reason::TooOld, Person::Again(ME))]
fn a_client_asks_for_a_new_sign_in_once(
    #[case] change: fn(&mut AuthorizationRequest),
    #[case] reason: Reason,
    #[case] person: Person<'_>,
) {
    let request = asking(change);
    assert_eq!(next(&situation(&request)), sign_in(reason, person));
    // However long the consent page was open, the sign-in counts.
    let later = Situation {
        now: at(9999),
        ..after_sign_in(&request)
    };
    permission(next(&later));
}

#[test]
fn a_sign_in_within_the_age_counts() {
    let request = asking(|request| request.max_age = Some(900));
    permission(next(&situation(&request)));
    // A replica whose clock is ahead recorded the sign-in.
    let ahead = Situation {
        now: at(50),
        ..situation(&request)
    };
    permission(next(&ahead));
}

#[test]
fn the_age_that_the_client_registered_holds_as_well() {
    for (registered, asked, is_enough) in [
        (900, None, true),
        (899, None, false),
        (899, Some(5000), false),
    ] {
        let request = asking(|request| request.max_age = asked);
        let mut situation = situation(&request);
        situation.client.max_auth_age = Some(Duration::from_secs(registered));
        let step = next(&situation);
        assert_eq!(matches!(step, Step::Code(_)), is_enough, "{step:?}");
    }
}

#[test]
fn a_sign_in_counts_for_its_own_request_only() {
    let request = asking(|request| request.prompts.login = true);
    let asked = sign_in(Reason::Asked, Person::Again(ME));
    // I signed in just before.
    let just_before = Situation {
        signed_in: None,
        ..after_sign_in(&request)
    };
    assert_eq!(next(&just_before), asked);
    // Another tab signed in later.
    let mut situation = after_sign_in(&request);
    situation.session = Some(Session {
        id: id("T"),
        authenticated_at: at(995),
        ..session()
    });
    permission(next(&situation));
    // The browser came back with an older session. I am not asked for ever.
    situation.session = Some(Session {
        id: id("T"),
        ..session()
    });
    assert_eq!(error(&next(&situation)), Some(ErrorCode::LoginRequired));
    situation.session = None;
    assert_eq!(error(&next(&situation)), Some(ErrorCode::LoginRequired));
}

#[rstest]
#[case::login(|request: &mut AuthorizationRequest| request.max_age = Some(0))]
#[case::too_old(|request: &mut AuthorizationRequest| request.max_age = Some(899))]
#[case::too_weak(|request: &mut AuthorizationRequest| request.claims = claims(json!({"acr": {"essential": true, "values": ["mfa"]}})))]
#[case::other_person(|request: &mut AuthorizationRequest| request.claims = claims(json!({"sub": {"value": "you"}})))]
fn without_pages_a_sign_in_is_an_error(#[case] change: fn(&mut AuthorizationRequest)) {
    let request = asking(|request| {
        change(request);
        request.prompts.none = true;
    });
    assert_eq!(
        error(&next(&situation(&request))),
        Some(ErrorCode::LoginRequired)
    );
    let without = Situation {
        session: None,
        ..situation(&request)
    };
    assert_eq!(error(&next(&without)), Some(ErrorCode::LoginRequired));
}

#[test]
fn only_the_person_that_the_client_names_gets_a_code() {
    let claimed = |sub| asking(|request| request.claims = claims(json!({"sub": {"value": sub}})));
    let (me, you, any) = (claimed(ME), claimed("you"), request());
    permission(next(&situation(&me)));
    let hinted = |request, subject| Situation {
        hint: IdTokenHint::Subject(subject),
        ..situation(request)
    };
    permission(next(&hinted(&any, ME)));
    let wanted = sign_in(Reason::OtherPerson, Person::Only("you"));
    assert_eq!(next(&situation(&you)), wanted);
    assert_eq!(next(&hinted(&any, "you")), wanted);
    // I signed in all the same.
    assert_eq!(
        error(&next(&after_sign_in(&you))),
        Some(ErrorCode::LoginRequired)
    );
    // The two names differ: no person can be both.
    assert_eq!(
        error(&next(&hinted(&me, "you"))),
        Some(ErrorCode::LoginRequired)
    );
    let unusable = Situation {
        hint: IdTokenHint::Unusable,
        ..situation(&any)
    };
    assert_eq!(error(&next(&unusable)), Some(ErrorCode::InvalidRequest));
}

fn not_allowed(situation: Situation<'_>) -> Situation<'_> {
    let refused = |session| Session {
        standing: Standing::NotAllowed,
        ..session
    };
    Situation {
        session: situation.session.map(refused),
        ..situation
    }
}

#[test]
fn a_person_who_may_not_use_the_client_can_change_the_account_once() {
    let any = request();
    let step = next(&not_allowed(situation(&any)));
    assert_eq!(step, sign_in(Reason::NotAllowed, Person::Any));
    let denied = Some(ErrorCode::AccessDenied);
    assert_eq!(error(&next(&not_allowed(after_sign_in(&any)))), denied);
    // The client wants only this person, or no page.
    let named = Situation {
        hint: IdTokenHint::Subject(ME),
        ..situation(&any)
    };
    assert_eq!(error(&next(&not_allowed(named))), denied);
    let silent = asking(|request| request.prompts.none = true);
    assert_eq!(error(&next(&not_allowed(situation(&silent)))), denied);
}

/// What a client demands or would like of the class, and what it gets from a person with a password who could also use
/// a second factor.
#[rstest]
#[case::met(json!({"essential": true, "values": ["pwd"]}), &[], Ok("pwd"))]
#[case::one_of_several_is_met(json!({"essential": true, "values": ["mfa", "pwd"]}), &[], Ok("pwd"))]
#[case::met_by_its_uri(json!({"essential": true, "value": "https://symbolon.dev/acr/pwd"}), &[], Ok("https://symbolon.dev/acr/pwd"))]
#[case::to_be_met(json!({"essential": true, "values": ["phr", "mfa"]}), &[], Err(Some(Acr::Mfa)))]
#[case::out_of_reach(json!({"essential": true, "values": ["phr"]}), &[], Err(None))]
#[case::unknown(json!({"essential": true, "values": ["gold"]}), &[], Err(None))]
#[case::liked(json!({"values": ["mfa"]}), &[], Err(Some(Acr::Mfa)))]
#[case::liked_in_the_short_form(json!(null), &["mfa"], Err(Some(Acr::Mfa)))]
#[case::liked_out_of_reach(json!(null), &["phr"], Ok("pwd"))]
#[case::liked_unknown(json!(null), &["gold"], Ok("pwd"))]
#[case::liked_and_met(json!(null), &["mfa", "pwd"], Ok("pwd"))]
fn the_class_of_the_sign_in(
    #[case] acr: serde_json::Value,
    #[case] listed: &[&str],
    #[case] wanted: Result<&str, Option<Acr>>,
) {
    let request = asking(|request| {
        request.claims = claims(json!({"acr": acr}));
        request.acr_values = listed.iter().map(|&value| value.to_owned()).collect();
    });
    match (wanted, next(&situation(&request))) {
        (Ok(told), Step::Code(permission)) => assert_eq!(permission.acr, told),
        (Err(Some(class)), Step::SignIn(sign_in)) => {
            assert_eq!(sign_in.acr, Some(class));
            assert_eq!(
                (sign_in.reason, sign_in.person),
                (Reason::TooWeak, Person::Again(ME))
            );
        }
        (Err(None), step) => {
            assert_eq!(
                error(&step),
                Some(ErrorCode::UnmetAuthenticationRequirements)
            );
        }
        (wanted, step) => panic!("{wanted:?}: {step:?}"),
    }
}

#[test]
fn a_class_that_the_sign_in_did_not_reach_is_an_error_only_if_it_is_essential() {
    let essential = asking(|request| {
        request.claims = claims(json!({"acr": {"essential": true, "values": ["mfa"]}}));
    });
    let unmet = Some(ErrorCode::UnmetAuthenticationRequirements);
    assert_eq!(error(&next(&after_sign_in(&essential))), unmet);
    let liked = asking(|request| request.acr_values = vec!["mfa".to_owned()]);
    permission(next(&after_sign_in(&liked)));
    // Without pages, what the client likes is no reason to refuse.
    let silent = asking(|request| {
        request.acr_values = vec!["mfa".to_owned()];
        request.prompts.none = true;
    });
    permission(next(&situation(&silent)));
}

#[test]
fn the_tokens_tell_a_class_that_the_client_asked_for() {
    let told = |acr: serde_json::Value, listed: &str| {
        let request = asking(|request| {
            request.claims = claims(json!({"acr": acr}));
            request.acr_values = listed.split(' ').map(str::to_owned).collect();
        });
        let strong = Situation {
            session: Some(Session {
                acr: Acr::Mfa,
                ..session()
            }),
            ..situation(&request)
        };
        permission(next(&strong)).acr.to_owned()
    };
    assert_eq!(told(json!(null), ""), "mfa");
    assert_eq!(told(json!(null), "pwd"), "pwd");
    assert_eq!(told(json!(null), "pwd mfa"), "mfa");
    assert_eq!(told(json!(null), "phr gold"), "mfa");
    // An essential claim has one of its own values.
    assert_eq!(
        told(json!({"essential": true, "values": ["pwd"]}), "mfa"),
        "pwd"
    );
}

#[test]
fn the_class_that_the_client_registered_is_a_demand() {
    let request = request();
    let mut situation = situation(&request);
    situation.client.minimum_acr = Some(Acr::Mfa);
    let Step::SignIn(asked) = next(&situation) else {
        panic!("no sign-in");
    };
    assert_eq!((asked.reason, asked.acr), (Reason::TooWeak, Some(Acr::Mfa)));
    situation.client.minimum_acr = Some(Acr::Phr);
    let unmet = Some(ErrorCode::UnmetAuthenticationRequirements);
    assert_eq!(error(&next(&situation)), unmet);
}

/// Whether the consent page is shown.
#[rstest]
#[case::all_remembered(ConsentPolicy::Remember, &SCOPES, false, false)]
#[case::more_remembered(ConsentPolicy::Remember, &["a", "openid", "email", OFFLINE_ACCESS], false, false)]
#[case::one_missing(ConsentPolicy::Remember, &["openid", "email"], false, true)]
#[case::nothing_remembered(ConsentPolicy::Remember, &[], false, true)]
#[case::asked(ConsentPolicy::Remember, &SCOPES, true, true)]
#[case::always(ConsentPolicy::Always, &SCOPES, false, true)]
#[case::skipped(ConsentPolicy::Skip, &[], false, false)]
#[case::skipped_but_asked(ConsentPolicy::Skip, &SCOPES, true, true)]
fn consent(
    #[case] policy: ConsentPolicy,
    #[case] remembered: &'static [&'static str],
    #[case] asks: bool,
    #[case] is_shown: bool,
) {
    let request = asking(|request| request.prompts.consent = asks);
    let mut situation = situation(&request);
    situation.client.consent = policy;
    situation.session = Some(Session {
        remembered: allowed(remembered),
        ..session()
    });
    let step = next(&situation);
    if !is_shown {
        permission(step);
        return;
    }
    assert_eq!(step, Step::Consent(SCOPES.into()));
    situation.given = Some(Given {
        subject: ME,
        shown: allowed(&SCOPES),
    });
    permission(next(&situation));
    let partly = Given {
        subject: ME,
        shown: allowed(&["openid", "email"]),
    };
    let by_another = Given {
        subject: "you",
        shown: allowed(&SCOPES),
    };
    for given in [partly, by_another] {
        situation.given = Some(given);
        assert_eq!(next(&situation), Step::Consent(SCOPES.into()));
    }
    let silent = asking(|request| request.prompts.none = true);
    if !asks {
        situation.given = None;
        situation.request = &silent;
        assert_eq!(error(&next(&situation)), Some(ErrorCode::ConsentRequired));
    }
}

#[test]
fn a_consent_adds_to_what_was_allowed_before() {
    let request = request();
    let mut situation = situation(&request);
    situation.session = Some(Session {
        remembered: allowed(&["orders.read", "openid"]),
        ..session()
    });
    situation.given = Some(Given {
        subject: ME,
        shown: allowed(&SCOPES),
    });
    let remember = permission(next(&situation)).remember.unwrap();
    let scopes = ["openid", "email", OFFLINE_ACCESS, "orders.read"];
    assert_eq!(remember.scopes, scopes);
    assert_eq!(remember.claims, CLAIMS);
    situation.client.consent = ConsentPolicy::Always;
    assert_eq!(permission(next(&situation)).remember, None);
}

/// The scopes are those that the person allowed, but one of them releases more since.
#[rstest]
#[case::remembered(ConsentPolicy::Remember)]
#[case::always(ConsentPolicy::Always)]
fn a_claim_that_was_not_shown_needs_a_new_consent(#[case] policy: ConsentPolicy) {
    let request = request();
    let mut situation = situation(&request);
    situation.client.consent = policy;
    let more = [&CLAIMS[..], &["department"]].concat();
    situation.claims = &more;
    assert_eq!(next(&situation), Step::Consent(SCOPES.into()));
    situation.given = Some(Given {
        subject: ME,
        shown: allowed(&SCOPES),
    });
    assert_eq!(next(&situation), Step::Consent(SCOPES.into()));
    let shown = Allowed {
        scopes: SCOPES.to_vec(),
        claims: more.clone(),
    };
    situation.given = Some(Given {
        subject: ME,
        shown: &shown,
    });
    let permission = permission(next(&situation));
    assert_eq!(permission.claims.as_ref().unwrap().len(), more.len());
    let remembered = permission.remember.map(|allowed| allowed.claims);
    let is_kept = policy == ConsentPolicy::Remember;
    assert_eq!(remembered, is_kept.then_some(shown.claims.clone()));
}

#[test]
fn a_grant_may_release_what_was_allowed_and_anything_without_consent() {
    let request = request();
    let mut situation = situation(&request);
    let claims = |situation: &Situation<'_>| permission(next(situation)).claims.map(|it| it.len());
    assert_eq!(claims(&situation), Some(CLAIMS.len()));
    situation.claims = &[];
    assert_eq!(claims(&situation), Some(CLAIMS.len()), "allowed before");
    situation.client.consent = ConsentPolicy::Skip;
    assert_eq!(claims(&situation), None);
}

#[test]
fn offline_access_is_for_clients_that_may_refresh() {
    let request = request();
    let mut situation = situation(&request);
    situation.client.may_refresh = false;
    situation.session = Some(Session {
        remembered: allowed(&["openid", "email"]),
        ..session()
    });
    assert_eq!(permission(next(&situation)).scopes, ["openid", "email"]);
    // Skipping consent grants it, and prompt=consent is not demanded.
    situation.client.may_refresh = true;
    situation.client.consent = ConsentPolicy::Skip;
    assert_eq!(permission(next(&situation)).scopes, SCOPES);
    situation.client.may_refresh = false;
    situation.scopes = &[OFFLINE_ACCESS];
    assert_eq!(error(&next(&situation)), Some(ErrorCode::InvalidScope));
}

/// Calls `check` with every combination of what the rules look at.
fn every_situation(mut check: impl FnMut(&Situation<'_>)) {
    let (all, some) = (allowed(&SCOPES), allowed(&SCOPES[..1]));
    let mut requests = Vec::new();
    for prompt in 0..9_u8 {
        for max_age in [None, Some(0), Some(60)] {
            for essential in [false, true] {
                for sub in [None, Some(ME), Some("you")] {
                    requests.push(asking(|request| {
                        // The request's check refuses `none` with another prompt.
                        request.prompts = Prompts {
                            none: prompt == 8,
                            login: prompt & 1 != 0,
                            consent: prompt & 2 != 0,
                            select_account: prompt & 4 != 0,
                        };
                        request.max_age = max_age;
                        let acr = json!({"essential": essential, "values": ["mfa"]});
                        request.claims = claims(match sub {
                            None => json!({"acr": acr}),
                            Some(sub) => json!({"acr": acr, "sub": {"value": sub}}),
                        });
                    }));
                }
            }
        }
    }
    let mut sessions = vec![None];
    for standing in [Standing::Allowed, Standing::NotAllowed, Standing::Disabled] {
        for authenticated_at in [at(100), at(990)] {
            for acr in [Acr::Pwd, Acr::Mfa] {
                for remembered in [all, some] {
                    sessions.push(Some(Session {
                        authenticated_at,
                        acr,
                        standing,
                        remembered,
                        ..session()
                    }));
                }
            }
        }
    }
    let done = |session: &str, second| {
        let (session, at) = (id(session), at(second));
        Some(SignedIn { session, at })
    };
    let given = |subject, shown| Some(Given { subject, shown });
    for request in &requests {
        for session in &sessions {
            for signed_in in [None, done("S", 100), done("T", 100), done("T", 995)] {
                for given in [None, given(ME, all), given(ME, some), given("you", all)] {
                    for consent in [
                        ConsentPolicy::Remember,
                        ConsentPolicy::Always,
                        ConsentPolicy::Skip,
                    ] {
                        for strongest in [Acr::Pwd, Acr::Mfa] {
                            let situation = situation(request);
                            check(&Situation {
                                session: *session,
                                signed_in,
                                given,
                                strongest,
                                client: ClientPolicy {
                                    consent,
                                    ..situation.client
                                },
                                ..situation
                            });
                        }
                    }
                }
            }
        }
    }
}

/// Every condition of a code, each in its own words.
fn assert_code(situation: &Situation<'_>, permission: &Permission<'_>) {
    let request = situation.request;
    let session = situation.session.expect("a code needs a session");
    assert_eq!(session.standing, Standing::Allowed);
    assert_eq!(
        (permission.session, permission.subject),
        (session.id, session.subject)
    );
    if let Some(subject) = request.claims.subject() {
        assert_eq!(session.subject, subject);
    }
    let is_new = match situation.signed_in {
        None => false,
        Some(done) => done.session == session.id || session.authenticated_at >= done.at,
    };
    if request.prompts.login || request.prompts.select_account || request.max_age == Some(0) {
        assert!(is_new, "a new sign-in was demanded");
    }
    if request.max_age == Some(60) {
        assert!(is_new || session.authenticated_at == at(990));
    }
    if request.claims.essential_acr().is_some() {
        assert_eq!(session.acr, Acr::Mfa);
        assert_eq!(permission.acr, "mfa");
    }
    let allowed_now = situation.given.is_some_and(|given| {
        given.subject == session.subject && given.shown.scopes.len() == SCOPES.len()
    });
    let allowed_before = match situation.client.consent {
        ConsentPolicy::Skip => true,
        ConsentPolicy::Always => false,
        ConsentPolicy::Remember => session.remembered.scopes.len() == SCOPES.len(),
    };
    assert!(allowed_now || (allowed_before && !request.prompts.consent));
    assert_eq!(permission.scopes, SCOPES);
}

#[test]
fn no_page_without_pages_no_code_without_every_condition_and_no_end_without_an_answer() {
    let mut codes = 0;
    every_situation(|situation| {
        let mut situation = *situation;
        // A sign-in and a consent, then an answer.
        for page in 0..3 {
            let step = next(&situation);
            if situation.request.prompts.none {
                let is_page = matches!(step, Step::SignIn(_) | Step::Consent(_));
                assert!(!is_page, "{situation:?}: {step:?}");
            }
            match step {
                Step::Code(permission) => {
                    assert_code(&situation, &permission);
                    codes += 1;
                    return;
                }
                Step::Refuse(_) => return,
                Step::SignIn(asked) => {
                    assert_eq!(
                        page, 0,
                        "a second sign-in, or one after consent: {situation:?}"
                    );
                    assert_eq!(situation.signed_in, None, "{situation:?}");
                    let subject = match asked.person {
                        Person::Only(subject) | Person::Again(subject) => subject,
                        Person::Hinted(_) | Person::Any => ME,
                    };
                    situation.session = Some(Session {
                        id: id("N"),
                        subject,
                        authenticated_at: situation.now,
                        acr: asked.acr.unwrap_or(Acr::Pwd),
                        ..session()
                    });
                    situation.signed_in = Some(SignedIn {
                        session: id("N"),
                        at: situation.now,
                    });
                }
                Step::Consent(scopes) => {
                    assert_eq!(scopes, SCOPES);
                    let session = situation.session.expect("consent needs a session");
                    situation.given = Some(Given {
                        subject: session.subject,
                        shown: allowed(&SCOPES),
                    });
                }
            }
        }
        panic!("no answer after every page: {situation:?}");
    });
    assert!(codes > 10_000, "the walk reaches codes: {codes}");
}
