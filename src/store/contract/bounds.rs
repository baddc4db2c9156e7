//! What one namespace, and one person at one client, can store.

use super::super::area::code::{Authorized, Redeemed};
use super::super::area::pushed::Room;
use super::super::area::refresh::Refreshed;
use super::contract;
use super::world::{Coded, NOW, SHOP, World, at, issue, keys, pushed_by, room};
use crate::people::code::Code;
use crate::people::grant::{EndsWith, GrantStanding, MOST_OF_CLIENT, MOST_UNREDEEMED};
use crate::people::pushed::Pushed;
use crate::people::session::Session;
use crate::tokens::reference::Prefix;
use crate::tokens::{SystemEntropy, TokenId};

contract!(
    pushed_requests_are_capped,
    what_a_namespace_pushes_is_bounded_in_bytes,
    the_requests_of_one_site_take_no_place_of_another_site,
    strangers_take_no_place_of_clients_with_a_secret,
    a_pushed_request_that_no_browser_presents_is_deleted_when_it_expires,
    the_oldest_of_too_many_grants_of_a_person_and_client_ends,
    codes_that_are_not_redeemed_end_no_other_grant,
    grants_that_have_ended_go_before_those_that_work,
);

async fn is_kept(world: &World, pushed: &Pushed) -> bool {
    let (table, id) = (world.store.qualifier(), pushed.id.as_str());
    let query = format!("SELECT 1 FROM {table}par WHERE id = '{id}'");
    !world.store.all(&query).await.unwrap().is_empty()
}

async fn pushed_requests_are_capped(world: &World) {
    let store = &world.store;
    let push = async |pushed: &Pushed, most| {
        let admitted = store.push_request(pushed.clone(), &room(most)).await;
        assert!(admitted.unwrap());
    };
    let is_kept = async |pushed: &Pushed| is_kept(world, pushed).await;
    // One more than the cap lets the oldest go that no browser has presented: a person looks at the page of the others.
    let open: Vec<Pushed> = (0..3)
        .map(|second| Pushed {
            expires_at: at(NOW + 60 + second),
            ..pushed_by("shop")
        })
        .collect();
    for pushed in &open {
        push(pushed, 3).await;
    }
    let shown = store.present_request(open[0].id, open[0].hash, "shop", at(NOW));
    assert!(shown.await.unwrap().is_some());
    push(&pushed_by("other"), 3).await;
    assert!(is_kept(&open[0]).await, "another client's do not count");
    let next = Pushed {
        expires_at: at(NOW + 70),
        ..pushed_by("shop")
    };
    push(&next, 3).await;
    assert!(!is_kept(&open[1]).await, "the oldest that is not shown");
    assert!(is_kept(&open[0]).await);
    assert!(is_kept(&open[2]).await);
    assert!(is_kept(&next).await);
    // A used one goes first.
    let account = world.person().await;
    let session = world.session(&account).await;
    let authorized = Authorized {
        pushed: Some(next.id),
        ..World::new_code(&session, EndsWith::Grant).authorized()
    };
    assert!(
        store
            .issue_code(authorized, at(NOW))
            .await
            .unwrap()
            .is_some()
    );
    push(&pushed_by("shop"), 3).await;
    assert!(!is_kept(&next).await);
    assert!(is_kept(&open[0]).await && is_kept(&open[2]).await);
    // Requests that are shown do not fill the room for good.
    let last = Pushed {
        expires_at: at(NOW + 80),
        ..pushed_by("shop")
    };
    push(&last, 3).await;
    for pushed in [&open[2], &last] {
        let shown = store.present_request(pushed.id, pushed.hash, "shop", at(NOW));
        assert!(shown.await.unwrap().is_some());
    }
    push(&pushed_by("shop"), 3).await;
    assert!(!is_kept(&open[0]).await);
    assert!(is_kept(&open[2]).await && is_kept(&last).await);
}

/// Anyone can push in the name of a public client, from as many networks as a site has.
async fn the_requests_of_one_site_take_no_place_of_another_site(world: &World) {
    let store = &world.store;
    let of = |site: u8| Room {
        namespace: "blue".to_owned(),
        site: Some([site; 32]),
        of_client: 10,
        of_namespace: 15,
    };
    let push = async |client: &str, site: u8, second: i64| {
        let pushed = Pushed {
            expires_at: at(NOW + 60 + second),
            ..pushed_by(client)
        };
        let added = store.push_request(pushed.clone(), &of(site)).await;
        assert!(added.unwrap());
        pushed
    };
    let present = async |pushed: &Pushed, client: &str| {
        let shown = store.present_request(pushed.id, pushed.hash, client, at(NOW));
        assert!(shown.await.unwrap().is_some());
    };
    let (shown, waiting) = (push("shop", 1, 0).await, push("shop", 1, 0).await);
    present(&shown, "shop").await;
    // One site pushes for many clients of the namespace, and opens the page of each request.
    for turn in 0..20 {
        for client in ["shop", "other", "third"] {
            let pushed = push(client, 2, 1 + turn).await;
            assert!(is_kept(world, &pushed).await);
            present(&pushed, client).await;
        }
        assert!(
            is_kept(world, &shown).await && is_kept(world, &waiting).await,
            "{turn}"
        );
    }
    // What the person looks at goes last of its own site, too.
    for turn in 0..20 {
        push("shop", 1, 30 + turn).await;
        assert!(is_kept(world, &shown).await, "{turn}");
    }
    assert!(!is_kept(world, &waiting).await);
}

async fn strangers_take_no_place_of_clients_with_a_secret(world: &World) {
    let store = &world.store;
    let of = |site: Option<u8>| Room {
        namespace: "blue".to_owned(),
        site: site.map(|site| [site; 32]),
        of_client: 10,
        of_namespace: 10,
    };
    let web = pushed_by("web");
    assert!(store.push_request(web.clone(), &of(None)).await.unwrap());
    for turn in 0..30 {
        for client in ["one", "two", "three"] {
            let pushed = Pushed {
                expires_at: at(NOW + 90),
                ..pushed_by(client)
            };
            assert!(store.push_request(pushed, &of(Some(turn))).await.unwrap());
        }
    }
    assert!(is_kept(world, &web).await);
    for _ in 0..9 {
        let more = store.push_request(pushed_by("web"), &of(None)).await;
        assert!(more.unwrap());
    }
    assert!(is_kept(world, &web).await, "its room was empty");
}

/// A public client's requests can be pushed by anyone, and a tenant can have many clients.
async fn what_a_namespace_pushes_is_bounded_in_bytes(world: &World) {
    const ROW: usize = 16 << 10;
    let store = &world.store;
    // The text that JSON makes longest. PostgreSQL stores no NUL, and JSON sends none.
    let longest: String = "\\u0000".chars().cycle().take(ROW).collect();
    let of = |namespace: &str| Room {
        namespace: namespace.to_owned(),
        site: None,
        of_client: 4,
        of_namespace: 10,
    };
    let mut pushed = Vec::new();
    for turn in 0..10 {
        for client in ["one", "two", "three", "four"] {
            let request = Pushed {
                request: longest.clone(),
                expires_at: at(NOW + 60 + turn),
                ..pushed_by(client)
            };
            let added = store.push_request(request.clone(), &of("blue")).await;
            assert!(added.unwrap(), "the oldest goes, and not the newest");
            // Some are presented, some are used.
            if turn % 2 == 0 {
                let shown = store.present_request(request.id, request.hash, client, at(NOW));
                assert!(shown.await.unwrap().is_some());
            }
            pushed.push(request);
        }
    }
    let foreign = store.push_request(pushed_by("five"), &of("green")).await;
    assert!(foreign.unwrap());
    let kept = async |namespace: &str| {
        let query = format!(
            "SELECT count(*), CAST(coalesce(sum(length(request)), 0) AS BIGINT) FROM {}par WHERE room = '{namespace}'",
            store.qualifier()
        );
        let row = store.ask(&query).await.unwrap();
        (row.int(0).unwrap(), row.int(1).unwrap())
    };
    let most = i64::try_from(10 * ROW).unwrap();
    assert_eq!(kept("blue").await, (10, most));
    assert_eq!(kept("green").await.0, 1);
    let last = pushed.last().unwrap();
    let shown = store.present_request(last.id, last.hash, &last.client, at(NOW));
    assert_eq!(shown.await.unwrap().unwrap().request, longest);
}

async fn a_pushed_request_that_no_browser_presents_is_deleted_when_it_expires(world: &World) {
    let store = &world.store;
    let requests = [pushed_by("shop"), pushed_by("shop"), pushed_by("shop")];
    for pushed in &requests {
        let added = store.push_request(pushed.clone(), &room(10)).await;
        assert!(added.unwrap());
    }
    let [_, shown, used] = &requests;
    let present = store.present_request(shown.id, shown.hash, "shop", at(NOW + 30));
    assert!(present.await.unwrap().is_some());
    let kept = async |second| {
        store.delete_expired(at(NOW + second)).await.unwrap();
        let dump = world.dump().await;
        dump.iter().filter(|row| row.starts_with("par:")).count()
    };
    assert_eq!(kept(0).await, 3);
    let account = world.person().await;
    let session = world.session(&account).await;
    let authorized = Authorized {
        pushed: Some(used.id),
        ..World::new_code(&session, EndsWith::Grant).authorized()
    };
    assert!(
        store
            .issue_code(authorized, at(NOW))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(kept(59).await, 2, "the used one has gone");
    assert_eq!(kept(60).await, 1);
    assert_eq!(kept(629).await, 1, "people reload the page");
    assert_eq!(kept(630).await, 0);
}

/// Issues a code of a client in a session, as if it was at a second.
async fn issued(
    world: &World,
    session: &Session,
    second: u32,
    client: &str,
) -> (Coded, Vec<TokenId>) {
    let mut coded = World::new_code(session, EndsWith::Grant);
    coded.grant.created_at = at(NOW + i64::from(second));
    coded.grant.client = client.to_owned();
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    (coded, issued.unwrap().unwrap())
}

async fn grants(world: &World) -> usize {
    let dump = world.dump().await;
    dump.iter().filter(|row| row.starts_with("grants:")).count()
}

/// Once the person has consented, a code costs only a request, and its rows last.
async fn the_oldest_of_too_many_grants_of_a_person_and_client_ends(world: &World) {
    let store = &world.store;
    let account = world.person().await;
    let session = world.session(&account).await;
    let mut families = Vec::new();
    for number in 0..=MOST_OF_CLIENT {
        let (coded, ended) = issued(world, &session, number, SHOP.id).await;
        assert_eq!(ended, []);
        let (redeemed, token) = world.redeem(&coded.request, NOW).await.unwrap();
        assert!(matches!(redeemed, Redeemed::Granted(_)));
        families.push((coded, token));
    }
    let (_, ended) = issued(world, &session, 0, "other").await;
    assert_eq!(ended, [], "another client's do not count");
    let (last, ended) = issued(world, &session, 200, SHOP.id).await;
    let (oldest, token) = &families[0];
    assert_eq!(ended, [oldest.grant.id]);
    assert_eq!(store.grant(oldest.grant.id).await.unwrap(), None);
    let refreshed = world.refresh(token, NOW).await.unwrap();
    assert!(
        matches!(refreshed, Refreshed::Refused { .. }),
        "{refreshed:?}"
    );
    let refreshed = world.refresh(&families[1].1, NOW).await.unwrap();
    assert!(matches!(refreshed, Refreshed::Granted { .. }));
    let (redeemed, _) = world.redeem(&last.request, NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Granted(_)));
}

/// Any page that the person visits can begin authorization requests of a client that the person has consented to.
async fn codes_that_are_not_redeemed_end_no_other_grant(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    let (first, _) = issued(world, &session, 0, SHOP.id).await;
    let (_, token) = world.redeem(&first.request, NOW).await.unwrap();
    let most = usize::try_from(MOST_UNREDEEMED).unwrap();
    let mut codes = Vec::new();
    for number in 1..=MOST_OF_CLIENT + 30 {
        let (coded, ended) = issued(world, &session, number, SHOP.id).await;
        codes.push(coded);
        let expected = codes.len().checked_sub(most + 1);
        let expected: Vec<TokenId> = expected.map(|at| codes[at].grant.id).into_iter().collect();
        assert_eq!(ended, expected, "the oldest goes that waits to be redeemed");
    }
    assert_eq!(grants(world).await, 1 + most);
    let refreshed = world.refresh(&token, NOW).await.unwrap();
    assert!(
        matches!(refreshed, Refreshed::Granted { .. }),
        "{refreshed:?}"
    );
    for coded in codes.iter().rev().take(most) {
        let (redeemed, _) = world.redeem(&coded.request, NOW).await.unwrap();
        assert!(matches!(redeemed, Redeemed::Granted(_)));
    }
}

async fn grants_that_have_ended_go_before_those_that_work(world: &World) {
    let store = &world.store;
    let account = world.person().await;
    let session = world.session(&account).await;
    let redeemed = async |second: u32, has_family: bool| {
        let (coded, ended) = issued(world, &session, second, SHOP.id).await;
        let token = keys().first(&Prefix::default(), &mut SystemEntropy);
        let decide = |standing: &GrantStanding, _: &Code| {
            let mut issue = issue(&token, standing, NOW);
            issue.family = issue.family.filter(|_| has_family);
            Ok::<_, &str>((issue, ()))
        };
        let redeemed = store.redeem_code(coded.request.clone(), at(NOW), decide);
        assert!(matches!(redeemed.await.unwrap(), Redeemed::Granted(())));
        (coded.grant.id, ended)
    };
    let (family, _) = redeemed(0, true).await;
    let (older, _) = redeemed(1, false).await;
    let (newer, _) = redeemed(2, false).await;
    let mut revoked = Vec::new();
    for second in 3..=MOST_OF_CLIENT {
        let (grant, ended) = redeemed(second, true).await;
        assert_eq!(ended, []);
        revoked.push(grant);
    }
    assert!(store.end_grant(revoked[50], at(NOW)).await.unwrap());
    // There is one too many, then another one, and so on.
    let mut gone = Vec::new();
    for second in 200..204 {
        gone.extend(redeemed(second, true).await.1);
    }
    assert_eq!(gone, [revoked[50], older, newer, family]);
}
