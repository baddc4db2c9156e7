//! What the API received, as a table: one row for each caller, one column for each proxy.

use std::fmt::Write as _;

use super::caller::Ask;
use super::headers::hostile;
use super::paths::{TARGETS, long};
use super::world::{IDENTITY, READER, Seen, World};

/// What the API received: the target, if the proxy changed it, and the caller. Otherwise the status that the caller
/// got.
fn cell(seen: &Seen, sent: &str) -> String {
    let [received] = seen.received.as_slice() else {
        return seen.answer.status.to_string();
    };
    let values = IDENTITY.map(|name| received.values(name).join("+"));
    let who = if values == READER {
        "the caller".to_owned()
    } else {
        values.join(" ")
    };
    let target = received.target();
    if target == sent {
        who
    } else {
        format!("{target}, {who}")
    }
}

#[test]
fn the_table_of_what_the_api_received() {
    let world = World::shared();
    let token = world.token("reader");
    let mut rows: Vec<(String, Ask)> = Vec::new();
    let honest = || world.ask().bearer(&token);
    rows.push(("a token".into(), honest()));
    rows.push((
        "a token in X-Api-Key".into(),
        world.ask().lines([format!("X-Api-Key: {token}")]),
    ));
    rows.push(("no token".into(), world.ask()));
    rows.push(("a bad token".into(), world.ask().bearer("nonsense")));
    rows.push((
        "a token without the scopes".into(),
        world.ask().bearer(&world.token("lister")),
    ));
    for (name, lines) in hostile() {
        rows.push((format!("forged: {name}"), honest().lines(lines)));
    }
    for target in TARGETS {
        rows.push((format!("path {target}"), honest().target(target)));
    }
    rows.push(("a path of 12,000 bytes".into(), honest().target(&long())));
    let mut table = String::new();
    for (name, ask) in rows {
        write!(table, "{name}").unwrap();
        let mut cells: Vec<(String, Vec<&str>)> = Vec::new();
        for gateway in &world.gateways {
            // Every request has its own case.
            let mut ask = ask.clone();
            ask.case = format!("{}-{}", ask.case, gateway.proxy.name());
            let cell = cell(&world.send(gateway, &ask), &ask.target);
            match cells.iter_mut().find(|it| it.0 == cell) {
                Some(same) => same.1.push(gateway.proxy.name()),
                None => cells.push((cell, vec![gateway.proxy.name()])),
            }
        }
        for (cell, gateways) in cells {
            write!(table, "\n    {}: {cell}", gateways.join(", ")).unwrap();
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}
