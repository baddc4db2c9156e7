//! Helpers shared by fuzz targets, and the replay of kept inputs.
//!
//! A target is a function of bytes, in a file `fuzzing.rs` beside the code that it drives. It panics if a rule does not
//! hold. `fuzz/` passes each target to libFuzzer (`just fuzz`); `cargo test` runs each over every input in
//! `fuzz/corpus`, so that a fault once found stays fixed. Compiled only for tests and cargo-fuzz.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

/// Choices and texts taken from the bytes of one input. At the end of the input, every choice is the first one.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// Takes the next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Takes a number below `count`, which is from 1 to 65,536.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let high = if count > 256 { self.byte() } else { 0 };
        (usize::from(high) << 8 | usize::from(self.byte())) % count
    }

    /// Takes some bytes; the first byte is their number.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Takes some text; invalid UTF-8 is replaced.
    pub(crate) fn text(&mut self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }

    /// Whether the input is used up.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits at the first `separator`; without one, all of `data` is the first part.
pub(crate) fn cut<'a>(data: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = data
        .windows(separator.len())
        .position(|window| window == separator);
    at.map_or((data, &[]), |at| {
        (&data[..at], &data[at + separator.len()..])
    })
}

/// Runs a target over every input kept for it.
#[cfg(test)]
pub(crate) fn replay(target: &str, run: fn(&[u8])) {
    struct Named<'a>(&'a std::path::Path);

    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input is {}", self.0.display());
            }
        }
    }

    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} has no inputs", folder.display());
    run(&[]);
    for path in inputs {
        let named = Named(&path);
        run(&std::fs::read(&path).unwrap());
        drop(named);
    }
}
