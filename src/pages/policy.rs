//! The Content-Security-Policy of a page. It allows nothing but what the page contains.

use super::theme::Theme;

/// What a page contains besides text, its style and its logo.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// The source of the inline script.
    pub(super) script: Option<String>,
    /// The origins of its frames.
    pub(super) frames: Vec<String>,
    /// Where its forms may be sent.
    pub(super) forms: Forms,
}

/// Where the forms of a page may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Forms {
    /// There is no form.
    #[default]
    None,
    /// To this server, which does not redirect the answer to a client.
    Own,
    /// Chromium and Safari apply the directive to every redirect after the form was sent, so it cannot be set on a page
    /// whose form ends at a client.
    ToClients,
}

impl Policy {
    /// Writes the value of the header.
    pub(super) fn header(&self, theme: &Theme) -> String {
        let mut header = format!("default-src 'none'; style-src {}", theme.style_source);
        let mut add = |directive: &str, sources: &str| {
            header.push_str("; ");
            header.push_str(directive);
            header.push(' ');
            header.push_str(sources);
        };
        if let Some(source) = &theme.image_source {
            add("img-src", source);
        }
        if let Some(script) = &self.script {
            add("script-src", script);
        }
        if !self.frames.is_empty() {
            add("frame-src", &self.frames.join(" "));
        }
        match self.forms {
            Forms::None => add("form-action", "'none'"),
            Forms::Own => add("form-action", "'self'"),
            Forms::ToClients => {}
        }
        add("base-uri", "'none'");
        add("frame-ancestors", "'none'");
        header
    }
}
