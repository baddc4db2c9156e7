//! A button that leads back to a client.

use super::language::{Html, Texts};
use super::link::ClientUri;
use super::sign_in::MAX_CLIENT;
use super::text::Shown;

/// A way back to a client.
#[derive(Clone, Copy, Debug)]
pub struct WayBack<'a> {
    /// A URI that the client registered.
    pub uri: ClientUri<'a>,
    /// The display name of the client, or its client ID.
    pub client: &'a str,
}

impl WayBack<'_> {
    /// Returns the text of the button.
    pub(super) fn label(&self, texts: &Texts) -> Html {
        let client = Shown::new(self.client, MAX_CLIENT);
        texts.say_of("back-to-client", "client", &client)
    }
}
