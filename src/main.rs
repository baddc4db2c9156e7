//! Parses arguments and dispatches; nothing else.

use std::process::ExitCode;

use clap::Parser;
use symbolon::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
