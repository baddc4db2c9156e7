//! Lists of names in the chart's values. The chart's admission policies read the same lists by the same rules
//! (`symbolon.cel.listed` and `symbolon.cel.host`).

use serde::Deserialize;

/// Matches any name.
const ANY: &str = "*";

/// A list of names. An entry that ends in `*` matches every name that begins with the rest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Hash)]
#[serde(transparent)]
pub struct Names(Vec<String>);

/// Matches every name.
impl Default for Names {
    fn default() -> Self {
        Self(vec![ANY.to_owned()])
    }
}

impl Names {
    /// Returns whether the list contains a name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|entry| match entry.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => entry == name,
        })
    }

    /// Returns whether a list of hosts contains a host: `*.example.com` matches every name below example.com.
    pub fn has_host(&self, host: &str) -> bool {
        let is_it = |entry: &String| match entry.strip_prefix('*') {
            Some(end) => host.ends_with(end),
            None => entry == host,
        };
        self.0.iter().any(is_it)
    }

    /// Returns whether the list contains every name.
    pub fn has_any(&self) -> bool {
        self.0.iter().any(|entry| entry == ANY)
    }

    /// Returns the entries as written.
    pub fn entries(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        Names(list.iter().map(|&it| it.to_owned()).collect())
    }

    #[test]
    fn a_name_is_allowed_whole_or_by_its_beginning() {
        for (list, name, is_allowed) in [
            (&["a"][..], "a", true),
            (&["a"], "ab", false),
            (&["a*"], "ab", true),
            (&["example.com/*"], "example.com/a", true),
            (&["example.com/*"], "example.org/a", false),
            (&["*"], "anything", true),
            (&[], "anything", false),
        ] {
            assert_eq!(names(list).has(name), is_allowed, "{list:?} {name}");
        }
    }

    #[test]
    fn a_host_is_allowed_whole_or_by_its_end() {
        for (list, host, is_allowed) in [
            (&["id.example.com"][..], "id.example.com", true),
            (&["id.example.com"], "an.id.example.com", false),
            (&["*.example.com"], "id.example.com", true),
            (&["*.example.com"], "a.id.example.com", true),
            (&["*.example.com"], "example.com", false),
            (&["*.example.com"], "evilexample.com", false),
            (&["*"], "id.example.com", true),
            (&[], "id.example.com", false),
        ] {
            assert_eq!(names(list).has_host(host), is_allowed, "{list:?} {host}");
        }
    }
}
