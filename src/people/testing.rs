//! What tests of several modules need: a grant, a personal access token, and their client.

use jiff::Timestamp;

use super::account::AccountId;
use super::grant::{Client, EndsWith, Grant};
use super::personal_token::PersonalToken;
use crate::tokens::TokenHash;
use crate::tokens::claims::Audience;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The client of [`grant`].
pub(crate) const SHOP: Client<'_> = Client {
    id: "shop",
    uid: "1",
};

/// A grant that lasts from the beginning of time until second 10,000.
pub(crate) fn grant() -> Grant {
    Grant {
        id: "GGGGGGGGGGGGGGGG".parse().unwrap(),
        account: AccountId(uuid::Uuid::nil()),
        epoch: 3,
        session: "SSSSSSSSSSSSSSSS".parse().unwrap(),
        ends_with: EndsWith::Session,
        client: SHOP.id.to_owned(),
        client_uid: SHOP.uid.to_owned(),
        scopes: "openid".to_owned(),
        resources: String::new(),
        authenticated_at: at(0),
        acr: "pwd".to_owned(),
        methods: "pwd".to_owned(),
        claims: None,
        created_at: at(0),
        expires_at: at(10_000),
        ended_at: None,
    }
}

/// A personal access token that lasts from the beginning of time until second 10,000.
pub(crate) fn personal_token() -> PersonalToken {
    PersonalToken {
        id: "PPPPPPPPPPPPPPPP".parse().unwrap(),
        hash: TokenHash::of("token"),
        account: AccountId(uuid::Uuid::nil()),
        epoch: 3,
        client: SHOP.id.to_owned(),
        client_uid: SHOP.uid.to_owned(),
        name: "laptop".to_owned(),
        scopes: "orders.read".to_owned(),
        audience: Audience::Single("https://api.example.com".to_owned()),
        claims: Vec::new(),
        authenticated_at: at(0),
        methods: "pwd".to_owned(),
        created_at: at(0),
        expires_at: Some(at(10_000)),
        ended_at: None,
        used: None,
    }
}
