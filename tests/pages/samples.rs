//! Every page with every message that it can have, filled with given words.

use symbolon::pages::{
    AnswerForm, Client, ClientUri, ConfirmSignOut, Consent, Context, Enrolment, Field, Form, Kind,
    Label, Language, Learned, LocalPath, Notice, Page, PasswordProblem, PasswordRules, Person,
    Problem, Scope, ScopeText, SignIn, SignedOut, Theme, Way, WayBack,
};

/// A logo of a few bytes.
pub(crate) const LOGO: &str = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAgMCA0OCA0OCIgd2lkdGg9IjQ4IiBoZWlnaHQ9IjQ4Ij48Y2lyY2xlIGN4PSIyNCIgY3k9IjI0IiByPSIyMiIgZmlsbD0iIzFkNGVkOCIvPjwvc3ZnPg==";
/// The frames of the pages that have some.
pub(crate) const FRAMES: [&str; 2] = [
    "http://one.example/sign-out?iss=http%3A%2F%2Fid.example&sid=s",
    "http://two.example:8080/bye?sid=s&a=b",
];
const REDIRECT_URI: &str = "http://app.example/callback?tenant=1&x=y";
const NATIVE_URI: &str = "com.example.app:/callback";
const REQUEST_ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// What others wrote on a page.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    pub(crate) client: String,
    pub(crate) client_id: String,
    pub(crate) owner: String,
    pub(crate) username: String,
    pub(crate) scope: String,
    pub(crate) scope_name: String,
    pub(crate) description: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) groups: Vec<String>,
    pub(crate) attribute: String,
    pub(crate) attribute_value: String,
    /// A parameter that the client or this server must get back unchanged.
    pub(crate) value: String,
    pub(crate) request_id: String,
    /// How often scopes, attributes and frames are repeated.
    pub(crate) times: usize,
}

impl Words {
    pub(crate) fn ordinary() -> Self {
        Self {
            client: "Shop".to_owned(),
            client_id: "shop.web".to_owned(),
            owner: "shop".to_owned(),
            username: "alice".to_owned(),
            scope: "orders.read".to_owned(),
            scope_name: "See your orders".to_owned(),
            description: "The orders of the last two years, with their positions.".to_owned(),
            name: "Alice Example".to_owned(),
            email: "alice@example.com".to_owned(),
            groups: vec!["buyers".to_owned(), "staff".to_owned()],
            attribute: "department".to_owned(),
            attribute_value: "Sales".to_owned(),
            value: "kQ9_sealed.value".to_owned(),
            request_id: REQUEST_ID.to_owned(),
            times: 1,
        }
    }

    /// The same text everywhere, with what tells the places apart.
    pub(crate) fn hostile(text: &str) -> Self {
        let with = |place: &str| format!("{place}{text}");
        Self {
            client: with("client"),
            client_id: with("id"),
            owner: with("owner"),
            username: with("username"),
            scope: with("scope"),
            scope_name: with("scope name"),
            description: with("description"),
            name: with("name"),
            email: with("email"),
            groups: vec![with("group"), with("another group")],
            attribute: with("attribute"),
            attribute_value: with("value"),
            value: text.to_owned(),
            request_id: with("request"),
            times: 1,
        }
    }

    /// As much as can be, and more.
    pub(crate) fn long(text: &str) -> Self {
        Self {
            // A sealed flow.
            value: "A".repeat(6 * 1024),
            groups: vec![text.to_owned(); 100],
            times: 128,
            ..Self::hostile(text)
        }
    }
}

/// A page with a name for the messages of a test.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) page: Page,
}

fn local(path: &str) -> LocalPath<'_> {
    LocalPath::new(path).unwrap()
}

fn client_uri(uri: &str) -> ClientUri<'_> {
    ClientUri::new(uri).unwrap()
}

/// Renders every page.
pub(crate) fn all(language: Language, theme: &Theme, words: &Words) -> Vec<Sample> {
    let other = Language::ALL.into_iter().filter(|it| *it != language);
    let others: Vec<_> = other
        .map(|it| (it, local("/id/connect/authorize?flow=x")))
        .collect();
    let context = Context {
        language,
        theme,
        other_languages: &others,
    };
    let hidden = [Field {
        name: "flow",
        value: &words.value,
    }];
    let form = Form {
        action: local("/id/connect/sign-in"),
        hidden: &hidden,
    };
    let mut samples = Vec::new();
    let mut add = |name, page| samples.push(Sample { name, page });
    sign_in(&context, form, words, &mut add);
    consent(&context, form, words, &mut add);
    enrolment(&context, form, words, &mut add);
    sign_out(&context, form, words, &mut add);
    answer(&context, words, &mut add);
    notices(&context, words, &mut add);
    samples
}

/// A page without anything that others wrote.
pub(crate) fn not_found(context: &Context<'_>) -> Page {
    let notice = Notice {
        kind: Kind::NotFound,
        way: None,
        request_id: None,
    };
    notice.render(context)
}

type Add<'a> = &'a mut dyn FnMut(&'static str, Page);

fn sign_in(context: &Context<'_>, form: Form<'_>, words: &Words, add: Add<'_>) {
    let plain = SignIn {
        form,
        client: Some(&words.client),
        person: Person::Any(""),
        remember: Some(false),
        can_refuse: true,
        problem: None,
    };
    let known = SignIn {
        person: Person::Any(&words.username),
        remember: Some(true),
        ..plain
    };
    let again = SignIn {
        person: Person::Again {
            username: &words.username,
            not_you: local("/id/connect/authorize?flow=x&another=1"),
        },
        remember: None,
        ..plain
    };
    let bare = SignIn {
        client: None,
        remember: None,
        can_refuse: false,
        ..plain
    };
    let with = |problem| SignIn {
        problem: Some(problem),
        ..known
    };
    let too_many = |retry_after| with(Problem::TooMany { retry_after });
    for (name, page) in [
        ("sign-in", plain),
        ("sign-in-bare", bare),
        ("sign-in-hint", known),
        ("sign-in-again", again),
        (
            "sign-in-again-wrong",
            SignIn {
                problem: Some(Problem::Wrong),
                ..again
            },
        ),
        (
            "sign-in-no-username",
            SignIn {
                problem: Some(Problem::NoUsername),
                ..plain
            },
        ),
        ("sign-in-no-password", with(Problem::NoPassword)),
        ("sign-in-wrong", with(Problem::Wrong)),
        ("sign-in-too-many", too_many(61)),
        ("sign-in-too-many-one-minute", too_many(1)),
        ("sign-in-busy", with(Problem::Busy { retry_after: 5 })),
    ] {
        add(name, page.render(context));
    }
}

fn consent(context: &Context<'_>, form: Form<'_>, words: &Words, add: Add<'_>) {
    let declared = Scope {
        value: &words.scope,
        text: ScopeText::Declared {
            name: Some(&words.scope_name),
            description: Some(&words.description),
        },
    };
    let nameless = Scope {
        value: &words.scope,
        text: ScopeText::Declared {
            name: None,
            description: None,
        },
    };
    let standard = [
        ("openid", ScopeText::OpenId),
        ("profile", ScopeText::Profile),
        ("email", ScopeText::Email),
        ("groups", ScopeText::Groups),
        ("offline_access", ScopeText::OfflineAccess),
    ];
    let mut scopes: Vec<Scope<'_>> = standard
        .into_iter()
        .map(|(value, text)| Scope { value, text })
        .collect();
    scopes.extend(vec![declared; words.times.min(122)]);
    scopes.push(nameless);
    let groups: Vec<&str> = words.groups.iter().map(String::as_str).collect();
    let mut learns = vec![
        Learned::Username(&words.username),
        Learned::Name(&words.name),
        Learned::Email(&words.email),
        Learned::Groups(&groups),
        Learned::Name(""),
    ];
    let attribute = Learned::Attribute(&words.attribute, &words.attribute_value);
    learns.extend(vec![attribute; words.times.min(32)]);
    let full = Consent {
        form,
        client: Client {
            id: &words.client_id,
            name: Some(&words.client),
            owner: &words.owner,
        },
        person: &words.username,
        not_you: Some(local("/id/connect/authorize?flow=x&another=1")),
        scopes: &scopes,
        learns: &learns,
        redirect_uri: client_uri(REDIRECT_URI),
    };
    let small = Consent {
        client: Client {
            name: None,
            ..full.client
        },
        not_you: None,
        scopes: &scopes[..1],
        learns: &[],
        redirect_uri: client_uri(NATIVE_URI),
        ..full
    };
    add("consent", full.render(context));
    add("consent-small", small.render(context));
}

fn enrolment(context: &Context<'_>, form: Form<'_>, words: &Words, add: Add<'_>) {
    let plain = Enrolment {
        form,
        username: &words.username,
        rules: PasswordRules {
            min_length: 15,
            max_length: 128,
            refuses_common: true,
        },
        problem: None,
    };
    add("enrolment", plain.render(context));
    for (name, problem) in [
        ("enrolment-missing", PasswordProblem::Missing),
        ("enrolment-too-short", PasswordProblem::TooShort),
        ("enrolment-too-long", PasswordProblem::TooLong),
        ("enrolment-common", PasswordProblem::Common),
        ("enrolment-different", PasswordProblem::Different),
        ("enrolment-busy", PasswordProblem::Busy { retry_after: 5 }),
    ] {
        let problem = Some(problem);
        add(name, Enrolment { problem, ..plain }.render(context));
    }
}

fn sign_out(context: &Context<'_>, form: Form<'_>, words: &Words, add: Add<'_>) {
    let question = ConfirmSignOut {
        form,
        person: &words.username,
        client: Some(&words.client),
    };
    add("confirm-sign-out", question.render(context));
    let by_person = ConfirmSignOut {
        client: None,
        ..question
    };
    add("confirm-sign-out-by-person", by_person.render(context));
    let frames: Vec<ClientUri<'_>> = FRAMES
        .into_iter()
        .chain(vec![LONG_FRAME; words.times - 1])
        .map(client_uri)
        .collect();
    let back = Some(WayBack {
        uri: client_uri("http://app.example/signed-out?state=a%26b"),
        client: &words.client,
    });
    for (name, frames, back) in [
        ("signed-out", &[][..], None),
        ("signed-out-back", &[], back),
        ("signed-out-frames", &frames, None),
        ("signed-out-frames-back", &frames, back),
    ] {
        add(name, SignedOut { frames, back }.render(context));
    }
}

/// A frame whose URI takes the most room.
const LONG_FRAME: &str = concat!(
    "https://long.example/?",
    "&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&",
    "&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&",
);

fn answer(context: &Context<'_>, words: &Words, add: Add<'_>) {
    let fields = [
        ("code", "a-code"),
        ("state", &words.value),
        ("iss", "http://id.example"),
    ]
    .map(|(name, value)| Field { name, value });
    let to_host = AnswerForm {
        uri: client_uri(REDIRECT_URI),
        fields: &fields,
    };
    let to_device = AnswerForm {
        uri: client_uri(NATIVE_URI),
        ..to_host
    };
    add("answer", to_host.render(context));
    add("answer-to-device", to_device.render(context));
}

fn notices(context: &Context<'_>, words: &Words, add: Add<'_>) {
    let retry_after = 90;
    let client = &*words.client;
    let person = &*words.username;
    let start = Some(Way::Local(
        local("/id/connect/authorize?flow=x"),
        Label::StartAgain,
    ));
    let retry = Some(Way::Local(
        local("/id/connect/authorize?flow=x"),
        Label::TryAgain,
    ));
    let sign_in = Some(Way::Local(local("/id/connect/sign-in"), Label::SignIn));
    let another = Some(Way::Local(
        local("/id/connect/sign-in"),
        Label::AnotherAccount,
    ));
    let sign_out = Some(Way::Local(local("/id/connect/endsession"), Label::SignOut));
    let on = Some(Way::Local(local("/id/account"), Label::Continue));
    let back = Some(Way::Client(WayBack {
        uri: client_uri(REDIRECT_URI),
        client,
    }));
    let reason = "code_challenge is missing";
    let allow = "GET, POST";
    for (name, kind, way) in [
        ("invalid-request", Kind::InvalidRequest { reason }, None),
        ("unknown-client", Kind::UnknownClient, None),
        ("unknown-redirect-uri", Kind::UnknownRedirectUri, None),
        ("not-allowed", Kind::NotAllowed { client }, another),
        ("flow-expired", Kind::FlowExpired, start),
        ("other-browser", Kind::OtherBrowser, start),
        ("no-cookies", Kind::NoCookies, start),
        ("form-refused", Kind::FormRefused, start),
        ("too-many", Kind::TooMany { retry_after }, retry),
        ("busy", Kind::Busy { retry_after: 5 }, retry),
        (
            "store-unavailable",
            Kind::StoreUnavailable { retry_after: 60 },
            retry,
        ),
        ("link-expired", Kind::LinkExpired, None),
        ("link-used", Kind::LinkUsed, sign_in),
        ("link-unknown", Kind::LinkUnknown, None),
        ("not-found", Kind::NotFound, None),
        ("method-not-allowed", Kind::MethodNotAllowed { allow }, None),
        ("no-sign-in", Kind::NoSignIn, None),
        ("too-large", Kind::TooLarge, None),
        ("internal", Kind::Internal, retry),
        ("signed-in", Kind::SignedIn { person }, sign_out),
        ("signed-in-already", Kind::SignedInAlready { person }, back),
        ("password-set", Kind::PasswordSet { person }, sign_in),
        ("stays-signed-in", Kind::StaysSignedIn { person }, on),
    ] {
        let notice = Notice {
            kind,
            way,
            request_id: Some(&words.request_id),
        };
        add(name, notice.render(context));
    }
}
