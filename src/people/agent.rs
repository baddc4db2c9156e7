//! What kind of program sent a request, by its `User-Agent`: enough for a person to recognise a use of their own. The
//! text itself is the caller's, so it is neither stored nor shown.

/// A kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Agent {
    Browser,
    Curl,
    Git,
    Go,
    Java,
    JavaScript,
    Kubectl,
    Python,
    Rust,
    /// Any other program, or one that does not say.
    Other,
}

/// The kinds, each with what its `User-Agent` begins with, in lower case.
const KNOWN: [(Agent, &[&str]); 9] = [
    (Agent::Browser, &["mozilla/"]),
    (Agent::Curl, &["curl/", "wget/"]),
    (Agent::Git, &["git/", "git-"]),
    (Agent::Kubectl, &["kubectl"]),
    (Agent::Go, &["go-http-client/"]),
    (
        Agent::Java,
        &[
            "java/",
            "java-http-client/",
            "apache-httpclient/",
            "okhttp/",
        ],
    ),
    (
        Agent::JavaScript,
        &["node", "axios/", "undici", "got ", "deno/", "bun/"],
    ),
    (Agent::Python, &["python", "aiohttp/", "httpie/"]),
    (Agent::Rust, &["reqwest/", "hyper/"]),
];

impl Agent {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Browser,
        Self::Curl,
        Self::Git,
        Self::Go,
        Self::Java,
        Self::JavaScript,
        Self::Kubectl,
        Self::Python,
        Self::Rust,
        Self::Other,
    ];

    /// Returns the kind of a `User-Agent`.
    pub fn of(user_agent: &[u8]) -> Self {
        let begins = |start: &&str| {
            let length = start.len();
            let head = user_agent.get(..length);
            head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
        };
        let known = KNOWN.iter().find(|(_, starts)| starts.iter().any(&begins));
        known.map_or(Self::Other, |(agent, _)| *agent)
    }

    /// Returns the name that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Curl => "curl",
            Self::Git => "git",
            Self::Go => "go",
            Self::Java => "java",
            Self::JavaScript => "javascript",
            Self::Kubectl => "kubectl",
            Self::Python => "python",
            Self::Rust => "rust",
            Self::Other => "other",
        }
    }

    /// Reads a stored name. An unknown one, of a later release, is another program.
    pub fn parse(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|agent| agent.as_str() == name)
            .unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
        Agent::Browser
    )]
    #[case("curl/8.14.1", Agent::Curl)]
    #[case("git/2.47.2", Agent::Git)]
    #[case("Go-http-client/2.0", Agent::Go)]
    #[case("kubectl/v1.36.3 (linux/amd64)", Agent::Kubectl)]
    #[case("python-requests/2.32", Agent::Python)]
    #[case("node", Agent::JavaScript)]
    #[case("Java/21", Agent::Java)]
    #[case("curl", Agent::Other)]
    #[case("evil curl/8", Agent::Other)]
    #[case("", Agent::Other)]
    fn a_program_is_known_by_how_its_user_agent_begins(#[case] text: &str, #[case] agent: Agent) {
        assert_eq!(Agent::of(text.as_bytes()), agent);
    }

    #[test]
    fn a_kind_is_read_as_it_was_stored() {
        for agent in Agent::ALL {
            assert_eq!(Agent::parse(agent.as_str()), agent);
        }
        assert_eq!(Agent::parse("of a later release"), Agent::Other);
    }
}
