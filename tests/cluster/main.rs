//! Tests against a real API server. `harness` finds or starts it; each other module tests one matter.

mod harness;
mod itself;
