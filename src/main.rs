//! Parses arguments and dispatches; nothing else.

fn main() {}
