//! People at a server. A server of an Identity without storage needs none of this.

pub mod keys;
