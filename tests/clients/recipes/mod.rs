//! Runs each recipe of docs/verifiers.md as it is written there, with good tokens and with those that it must refuse.
//!
//! The recipe for kube-apiserver runs in `tests/cluster`.

mod apache;
mod kafka;
mod libraries;
mod oauth2_proxy;
mod openbao;
pub(crate) mod program;
mod spring;
mod tls;
mod world;

use std::collections::BTreeSet;

use crate::support::{RECIPES, page};

#[test]
fn every_recipe_of_the_page_is_run() {
    let page = page();
    let parts = page.split("<!-- recipe:").skip(1);
    let marked: Vec<&str> = parts
        .map(|part| part.split_once(" -->").unwrap().0)
        .collect();
    let distinct: BTreeSet<&str> = marked.iter().copied().collect();
    assert_eq!(distinct.len(), marked.len(), "{marked:?}");
    assert_eq!(distinct, RECIPES.into());
}
