//! What is counted of people.

use prometheus_client::metrics::counter::Counter;
use strum::{IntoStaticStr, VariantArray};

use super::sign_in::Wrong;
use crate::oauth::userinfo;
use crate::telemetry::{By, Catalog, label};

/// How an attempt to sign in ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// The person is signed in.
    SignedIn,
    /// It failed.
    Wrong(Wrong),
    /// There were too many attempts.
    TooMany,
    /// Too many passwords were being hashed.
    Busy,
}

/// The outcomes whose number says something of its growth: of guesses, and of load.
const SIGN_INS: [SignInOutcome; 5] = [
    SignInOutcome::SignedIn,
    SignInOutcome::Wrong(Wrong::Name),
    SignInOutcome::Wrong(Wrong::Password),
    SignInOutcome::TooMany,
    SignInOutcome::Busy,
];

impl SignInOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::Wrong(why) => why.as_str(),
            Self::TooMany => "too_many_attempts",
            Self::Busy => "busy",
        }
    }
}

/// How an authorization request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationOutcome {
    /// With a code.
    Code,
    /// With this error for the client.
    Refused(&'static str),
    /// With a page of the server that leads to no client.
    Page,
}

impl AuthorizationOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Refused(code) => code,
            Self::Page => "page",
        }
    }
}

/// How the use of an enrolment link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EnrolmentOutcome {
    /// The password is set.
    Enrolled,
    /// The link is not genuine, or was withdrawn.
    Unknown,
    /// It has expired, or is from before the account was revoked.
    Expired,
    /// It was used.
    Used,
}

/// How a sign-out ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum SignOutOutcome {
    /// The session has ended.
    SignedOut,
    /// The person is asked.
    Asked,
    /// The person stays signed in.
    Refused,
    /// There is no session.
    Nothing,
}

/// How a userinfo request ends.
#[derive(Clone, Copy, Debug)]
pub enum UserInfoOutcome {
    /// It is answered.
    Answered,
    /// It is denied.
    Denied(userinfo::Denial),
}

impl UserInfoOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Denied(denial) => denial.as_str(),
        }
    }
}

/// What becomes of a notice that tells a client of a sign-out, or of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LogoutOutcome {
    /// The client took the notice.
    Told,
    /// The client refused it.
    Refused,
    /// The client could not be reached, or failed. The notice is tried again, or given up.
    Failed,
    /// The client need not be told any more: it was deleted or disabled, or names no place.
    Unneeded,
    /// The notice was given up after its last try, or because it was too old.
    GivenUp,
    /// The notice was never written: too many of its client or namespace waited.
    Dropped,
}

/// What happens to personal access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PersonalTokenOutcome {
    /// A person created one.
    Created,
    /// A person may not create the one that they want, or has too many.
    Refused,
    /// One was revoked.
    Revoked,
}

label! {
    "outcome": SignInOutcome::as_str,
    "outcome": AuthorizationOutcome::as_str,
    "outcome": EnrolmentOutcome::into,
    "outcome": SignOutOutcome::into,
    "outcome": UserInfoOutcome::as_str,
    "outcome": LogoutOutcome::into,
    "outcome": PersonalTokenOutcome::into,
}

/// The metrics.
pub struct PeopleMetrics {
    sign_ins: By<SignInOutcome, Counter>,
    authorizations: By<AuthorizationOutcome, Counter>,
    enrolments: By<EnrolmentOutcome, Counter>,
    sign_outs: By<SignOutOutcome, Counter>,
    userinfo: By<UserInfoOutcome, Counter>,
    logout_notices: By<LogoutOutcome, Counter>,
    personal_tokens: By<PersonalTokenOutcome, Counter>,
    grants_ended: Counter,
}

impl PeopleMetrics {
    /// Registers the metrics.
    pub fn register(catalog: &mut Catalog) -> Self {
        Self {
            sign_ins: catalog.counters(
                "sign_ins",
                "Attempts to sign in with a password by outcome: signed_in, or the reason why not",
            )
            .from_the_start(SIGN_INS),
            authorizations: catalog.counters(
                "authorizations",
                "Authorization requests by how they ended: code, the OAuth error code sent to the client, or page for an error that cannot be sent to a client",
            )
            .from_the_start([AuthorizationOutcome::Code, AuthorizationOutcome::Page]),
            enrolments: catalog.counters(
                "enrollments",
                "Uses of enrollment links by outcome: enrolled, or why the link does not work (opening a link that works is not counted)",
            )
            .from_the_start(EnrolmentOutcome::VARIANTS.iter().copied()),
            sign_outs: catalog.counters(
                "sign_outs",
                "Requests to the end session endpoint by outcome: signed_out, asked, refused by the person, or nothing if there was no session",
            )
            .from_the_start(SignOutOutcome::VARIANTS.iter().copied()),
            userinfo: catalog.counters(
                "userinfo_requests",
                "Userinfo requests by outcome: answered, or the reason why not",
            )
            .from_the_start([UserInfoOutcome::Answered]),
            logout_notices: catalog.counters(
                "logout_notices",
                "Notices that tell a client through the back channel that a session has ended, by outcome: told, refused by the client, unneeded (the client is gone), given_up after the last try or an hour, dropped because too many wait; and failed tries",
            )
            .from_the_start(LogoutOutcome::VARIANTS.iter().copied()),
            personal_tokens: catalog.counters(
                "personal_tokens",
                "Personal access tokens by what happened to them: created, refused to the person who wanted one, or revoked",
            )
            .from_the_start(PersonalTokenOutcome::VARIANTS.iter().copied()),
            grants_ended: catalog.counter(
                "grants_ended_by_reuse",
                "Grants that ended because a used code or a replaced refresh token was presented again: someone may have a copy",
            ),
        }
    }

    /// Counts an attempt to sign in.
    pub fn signed_in(&self, outcome: SignInOutcome) {
        self.sign_ins.inc(outcome);
    }

    /// Counts an authorization request that has ended.
    pub fn authorized(&self, outcome: AuthorizationOutcome) {
        self.authorizations.inc(outcome);
    }

    /// Counts the use of an enrolment link.
    pub fn enrolled(&self, outcome: EnrolmentOutcome) {
        self.enrolments.inc(outcome);
    }

    /// Counts a request to sign out.
    pub fn signed_out(&self, outcome: SignOutOutcome) {
        self.sign_outs.inc(outcome);
    }

    /// Counts a userinfo request.
    pub fn userinfo(&self, outcome: UserInfoOutcome) {
        self.userinfo.inc(outcome);
    }

    /// Counts notices that tell clients of a sign-out.
    pub fn logout_notices(&self, outcome: LogoutOutcome, count: u64) {
        self.logout_notices.of(outcome).inc_by(count);
    }

    /// Counts what happened to a personal access token.
    pub fn personal_token(&self, outcome: PersonalTokenOutcome) {
        self.personal_tokens.inc(outcome);
    }

    /// Counts a grant that ended because something was presented again.
    pub fn grant_ended(&self) {
        self.grants_ended.inc();
    }
}
