//! The control socket: how commands reach the server that runs on the same machine or in the same pod.
//!
//! It is a Unix socket of mode 0600 in a folder that only the server's user can enter, beside the store's file. The
//! process that holds the store's lock owns the socket, so a socket that an ended server left behind is replaced without
//! a race. The protocol is HTTP/1.1, one request for each connection. Who may connect may already read the store's file:
//! the socket grants nothing more, and asks for no further proof. Not here: what a request means.

mod ask;
mod place;
mod serve;

pub use self::ask::{AskError, ask, is_answered};
pub use self::place::{Place, folder_of};
pub use self::serve::{Answer, AnswerBody, Request, serve};
