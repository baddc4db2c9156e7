//! The report of a store, for people and for programs. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::store::Report;

/// Writes a report for people.
pub(super) fn text(name: &str, report: &Report) -> String {
    let Report {
        issuer,
        written_at,
        schema_version,
        bytes,
        tables,
    } = report;
    let issuer = issuer.as_deref().unwrap_or("none yet");
    let written = written_at.as_deref().unwrap_or("never");
    let oldest = tables
        .iter()
        .filter_map(|table| Some((table.oldest_expired_seconds?, &table.name)))
        .max();
    let oldest = match oldest {
        Some((seconds, table)) => format!("since {seconds} s, in {table}"),
        None => "none".to_owned(),
    };
    let mut out = format!(
        "{name} is complete and undamaged\n  issuer              {issuer}\n  last written        {written}\n  \
         schema version      {schema_version}\n  size                {bytes} bytes\n  oldest expired row  {oldest}\n  rows\n"
    );
    for table in tables {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    {:<18}{}", table.name, table.rows);
    }
    out
}

/// Returns the same for programs.
pub(super) fn json(name: &str, report: &Report) -> anyhow::Result<Value> {
    let mut document = json!({"store": name, "sound": true});
    if let (Some(document), Value::Object(fields)) =
        (document.as_object_mut(), serde_json::to_value(report)?)
    {
        document.extend(fields);
    }
    Ok(document)
}

/// Returns why a store cannot be used, for programs.
pub(super) fn unsound(name: &str, error: &anyhow::Error) -> Value {
    json!({"store": name, "sound": false, "error": format!("{error:#}")})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TableReport;

    #[test]
    fn a_report_says_whose_store_it_is_and_what_is_in_it() {
        let table = |name: &str, rows, oldest_expired_seconds| TableReport {
            name: name.to_owned(),
            rows,
            oldest_expired_seconds,
        };
        let report = Report {
            issuer: Some("https://a".to_owned()),
            written_at: None,
            schema_version: 2,
            bytes: 4096,
            tables: vec![
                table("account", 3, None),
                table("code", 5, Some(7)),
                table("session", 6, Some(99)),
            ],
        };
        let words = text("/a.db", &report);
        for part in [
            "/a.db is complete",
            "https://a",
            "never",
            "4096 bytes",
            "since 99 s, in session",
            "account           3\n",
        ] {
            assert!(words.contains(part), "{words}");
        }
        let document = json("/a.db", &report).unwrap();
        assert_eq!(document["sound"], true);
        assert_eq!(document["tables"][1]["oldestExpiredSeconds"], 7);
        assert_eq!(document["writtenAt"], Value::Null);
    }
}
