//! The installation's lists of names, as the chart's values have them. The chart's admission policies read the same lists
//! in the same way (`symbolon.cel.listed` and `symbolon.cel.host`).

use serde::Deserialize;

/// Any name.
const ANY: &str = "*";

/// A list of names. One that ends in `*` stands for every name that begins with the rest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Names(Vec<String>);

/// Every name.
impl Default for Names {
    fn default() -> Self {
        Self(vec![ANY.to_owned()])
    }
}

impl Names {
    /// Whether the list has a name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|entry| match entry.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => entry == name,
        })
    }

    /// Whether a list of hosts has a host: `*.example.com` stands for every name below example.com.
    pub fn has_host(&self, host: &str) -> bool {
        let is_it = |entry: &String| match entry.strip_prefix('*') {
            Some(end) => host.ends_with(end),
            None => entry == host,
        };
        self.0.iter().any(is_it)
    }

    /// Whether the list has every name.
    pub fn has_any(&self) -> bool {
        self.0.iter().any(|entry| entry == ANY)
    }

    /// The entries as they are written.
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
