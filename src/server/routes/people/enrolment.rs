//! The page on which a person sets a password, opened by an enrolment link. To open it changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;

use super::guest::{self, Guest, PROOF, Stop};
use crate::directory::{AcceptedUser, revoked_before};
use crate::oauth::{Endpoint, Form, Refusal};
use crate::pages::{
    self, Field, Kind, Label, LocalPath, PasswordProblem, PasswordRules, Way, field,
};
use crate::people::account::Account;
use crate::people::enrolment::{
    EnrolmentState, MAX_LENGTH, Refused, Unverified, Verified, withdrawal,
};
use crate::people::password::{self, Fault, Password};
use crate::server::passwords::OwnedNames;
use crate::server::people::metrics::EnrolmentOutcome;
use crate::server::people::sign_in::BUSY;
use crate::server::request::Call;
use crate::store::StoreError;
use crate::store::area::enrolment::{Enrolment, LinkEnd};
use crate::telemetry::audit::Event;

/// The form's name in its proof.
const FORM: &str = "enrolment";
/// The parameter and field with the link.
const LINK: &str = "link";
/// What the page says about passwords. The longest one is stated in characters: no character has more than four bytes.
const RULES: PasswordRules = PasswordRules {
    min_length: password::MIN_LENGTH as u64,
    max_length: password::MAX_LENGTH as u64 / 4,
    refuses_common: true,
};

pub async fn handle(call: Call) -> Result<Response, Refusal> {
    guest::serve(call, answer).await
}

async fn answer(guest: &mut Guest) -> Result<Response, Stop> {
    if guest.is_post() {
        submitted(guest).await
    } else {
        shown(guest).await
    }
}

/// A link that works, and its person.
struct Works {
    verified: Verified,
    owner: String,
    username: String,
    email: Option<String>,
    subject: String,
}

async fn shown(guest: &mut Guest) -> Result<Response, Stop> {
    let link = guest.parameter(LINK).unwrap_or_default();
    let works = works(guest, &link).await?;
    Ok(page(guest, &link, &works.username, None))
}

fn page(
    guest: &mut Guest,
    link: &str,
    username: &str,
    problem: Option<PasswordProblem>,
) -> Response {
    let proof = guest.proof(FORM);
    let here = guest.path(Endpoint::Enrolment, &[(LINK, link)]);
    let action = guest.path(Endpoint::Enrolment, &[]);
    guest.is_at(here);
    let hidden = [
        Field {
            name: LINK,
            value: link,
        },
        Field {
            name: PROOF,
            value: &proof,
        },
    ];
    let Some(action) = LocalPath::new(&action) else {
        return guest.notice(Kind::Internal, None);
    };
    let page = pages::Enrolment {
        form: pages::Form {
            action,
            hidden: &hidden,
        },
        username,
        rules: RULES,
        problem,
    };
    guest.render(|context| page.render(context))
}

/// Checks a link.
///
/// # Errors
/// The page that says that it does not work.
async fn works(guest: &Guest, link: &str) -> Result<Works, Stop> {
    let unknown = || refused(guest, Kind::LinkUnknown, EnrolmentOutcome::Unknown);
    let link = Some(link).filter(|link| link.len() <= MAX_LENGTH);
    let Some(unverified) = link.and_then(Unverified::parse) else {
        return Err(unknown());
    };
    let snapshot = &*guest.snapshot;
    let identity = snapshot.identity();
    let known = snapshot.registry().owning(unverified.uid());
    let revoked = known.and_then(|known| revoked_before(known.identity.record, known.user.record));
    let revoked = revoked.map(|moment| moment.min(guest.now));
    let mut standing = EnrolmentState {
        namespace: &identity.namespace,
        identity: &identity.name,
        nonce: known.and_then(|known| known.user.record.nonce()),
        issued_at: known.and_then(|known| known.user.record.link_issued_at()),
        valid_after: revoked,
    };
    let keys = || guest.people.keys.enrolment.iter().map(AsRef::as_ref);
    // Anyone can make up a link: the store is asked only about a genuine one.
    let is_genuine = unverified.verify(keys(), standing, guest.now);
    if matches!(is_genuine, Err(Refused::Foreign | Refused::Withdrawn)) {
        return Err(unknown());
    }
    let account = account_of(guest, unverified.uid()).await?;
    standing.valid_after = account.map(|account| account.valid_after).max(revoked);
    let value = withdrawal(unverified.uid(), standing.nonce.unwrap_or_default());
    let end_of = |link| {
        let end = guest.people.store.enrolment_end(link, value, guest.now);
        guest.wait_for(end)
    };
    let verified = match unverified.verify(keys(), standing, guest.now) {
        Ok(verified) => verified,
        Err(Refused::Foreign | Refused::Withdrawn) => return Err(unknown()),
        Err(Refused::Expired | Refused::Superseded) => {
            // Only a genuine link gets here. Its own use supersedes it.
            return Err(match end_of(unverified.hash()).await? {
                Some(LinkEnd::Used) => used(guest),
                Some(LinkEnd::Withdrawn) | None => {
                    refused(guest, Kind::LinkExpired, EnrolmentOutcome::Expired)
                }
            });
        }
    };
    // The page names no one who may not sign in.
    let Some(known) = known.filter(|known| known.person(guest.now).is_ok()) else {
        return Err(unknown());
    };
    match end_of(verified.hash).await? {
        None => Ok(Works::of(verified, known)),
        Some(LinkEnd::Used) => Err(used(guest)),
        Some(LinkEnd::Withdrawn) => Err(unknown()),
    }
}

impl Works {
    fn of(verified: Verified, known: AcceptedUser<'_>) -> Self {
        let record = known.user.record;
        Self {
            verified,
            owner: known.user.object.uid.to_string(),
            username: record.username.to_string(),
            email: record.email.as_deref().map(str::to_owned),
            subject: record.subject.to_string(),
        }
    }
}

async fn account_of(guest: &Guest, owner: &str) -> Result<Option<Account>, Stop> {
    let found = guest.people.store.credentials(owner);
    let found = guest.wait_for(found).await?;
    Ok(found.map(|(account, _)| account))
}

fn used(guest: &Guest) -> Stop {
    refused(guest, Kind::LinkUsed, EnrolmentOutcome::Used)
}

fn refused(guest: &Guest, kind: Kind<'static>, outcome: EnrolmentOutcome) -> Stop {
    guest.call.app.metrics().people().enrolled(outcome);
    let path = guest.path(Endpoint::SignIn, &[]);
    let way = LocalPath::new(&path).map(|path| Way::Local(path, Label::SignIn));
    guest.stop(kind, way)
}

async fn submitted(guest: &mut Guest) -> Result<Response, Stop> {
    let body = guest.body().await?;
    let form = Form::parse(&body)?;
    let link = form.get(LINK).unwrap_or_default();
    let again = guest.path(Endpoint::Enrolment, &[(LINK, link)]);
    let again = Some(&*again).filter(|_| Unverified::parse(link).is_some());
    guest.check(&form, FORM, again)?;
    let works = works(guest, link).await?;
    let typed = form.get(field::PASSWORD).unwrap_or_default();
    let repeated = form.get(field::REPEATED).unwrap_or_default();
    let chosen = match (typed, Password::new(typed)) {
        ("", _) => Err(PasswordProblem::Missing),
        (_, Err(_)) => Err(PasswordProblem::TooLong),
        (_, Ok(_)) if typed != repeated => Err(PasswordProblem::Different),
        (_, Ok(password)) => Ok(password),
    };
    let names = OwnedNames {
        person: std::iter::once(works.username.clone())
            .chain(works.email.clone())
            .collect(),
        host: guest.own.host.clone(),
    };
    let hash = match chosen {
        Ok(password) => hashed(guest, &works, password, names).await,
        Err(problem) => Err(problem),
    };
    let hash = match hash {
        Ok(hash) => hash,
        Err(problem) => return Ok(page(guest, link, &works.username, Some(problem))),
    };
    // Hashing took its time, and the person may have been disabled meanwhile.
    guest.renew()?;
    let works = self::works(guest, link).await?;
    enrol(guest, works, hash).await
}

/// Hashes a password that may be chosen. A link works until it is used, so its person is limited as at a sign-in.
async fn hashed(
    guest: &Guest,
    works: &Works,
    password: Password,
    names: OwnedNames,
) -> Result<String, PasswordProblem> {
    let people = &guest.people;
    let busy = |wait: Duration| PasswordProblem::Busy {
        retry_after: wait.as_secs().max(1),
    };
    let account = people.keys.account_for(&works.owner, Some(&works.subject));
    people.may_hash(account, guest.now).map_err(busy)?;
    let chosen = people.passwords.choose(guest.call.peer, password, names);
    match guest.wait_for(chosen).await {
        Ok(chosen) => chosen.map_err(problem_of),
        Err(_) => Err(busy(BUSY)),
    }
}

const fn problem_of(fault: Fault) -> PasswordProblem {
    match fault {
        Fault::TooShort => PasswordProblem::TooShort,
        // A form sends no control characters, and a name is as easy to guess as a common password.
        Fault::ControlCharacter | Fault::ContainsName | Fault::Common => PasswordProblem::Common,
    }
}

async fn enrol(guest: &mut Guest, works: Works, password: String) -> Result<Response, Stop> {
    let Works {
        verified,
        owner,
        username,
        subject,
        ..
    } = works;
    let account = guest.people.keys.account_for(&owner, Some(&subject));
    let enrolment = Enrolment {
        link: verified.hash,
        issued_at: verified.issued_at,
        expires_at: verified.expires_at,
        owner,
        account,
        password,
    };
    let now = crate::server::now();
    let (people, app) = (Arc::clone(&guest.people), guest.call.app.clone());
    let origin = guest.lasting_origin();
    let enrolled = guest.carry_out(async move {
        let Some(account) = people.store.enrol(enrolment, now).await? else {
            return Ok(None);
        };
        let enrolled = EnrolmentOutcome::Enrolled;
        app.metrics().people().enrolled(enrolled);
        let subject = account.id.0.to_string();
        origin.record(&Event {
            event: "password_set",
            subject: Some(&subject),
            reason: Some("enrollment"),
            ..Event::default()
        });
        Ok::<_, StoreError>(Some(account))
    });
    let Some(account) = enrolled.await?? else {
        return Err(used(guest));
    };
    // Others may fail at this account from now on: the person signs in from here.
    guest.remember(&account);
    let path = guest.path(Endpoint::SignIn, &[]);
    let way = LocalPath::new(&path).map(|path| Way::Local(path, Label::SignIn));
    Ok(guest.notice(Kind::PasswordSet { person: &username }, way))
}
