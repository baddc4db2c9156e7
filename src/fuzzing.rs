//! What fuzz targets share, and what replays the inputs that are kept.
//!
//! A target is a function of bytes in a file `fuzzing.rs` beside the code that it drives. It panics where a rule does not
//! hold. `fuzz/` hands each one to libFuzzer (`just fuzz`); `cargo test` hands it every input in `fuzz/corpus`, so that a
//! fault that was found once stays fixed. Compiled for tests and by cargo-fuzz alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

/// Choices and texts, taken from the bytes of one input. Where nothing is left, every choice is the first one.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `count`, which is at least one and at most 65,536.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let high = if count > 256 { self.byte() } else { 0 };
        (usize::from(high) << 8 | usize::from(self.byte())) % count
    }

    /// Some bytes: their number comes first.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Some text; what is not UTF-8 is replaced.
    pub(crate) fn text(&mut self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Cuts at the first `separator`; all of it is the first part where there is none.
pub(crate) fn cut<'a>(data: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = data
        .windows(separator.len())
        .position(|window| window == separator);
    at.map_or((data, &[]), |at| {
        (&data[..at], &data[at + separator.len()..])
    })
}

/// Runs a target over every input that is kept for it.
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
