//! Randomness as a parameter: pure code calls an [`Entropy`], and the caller at the edge chooses which.

use aws_lc_rs::digest;

/// A source of random bytes.
pub trait Entropy {
    /// Overwrites all of `bytes` with random bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The operating system's randomness through AWS-LC's generator, used everywhere except in tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::expect_used,
        reason = "AWS-LC aborts by itself when the system has no randomness; nothing may be issued without it"
    )]
    fn fill(&mut self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the system's random generator");
    }
}

/// Deterministic bytes from a seed, **only** for tests and simulations: the seed reveals the whole stream.
/// Never issue a token from it.
#[derive(Clone, Debug)]
pub struct SeededEntropy {
    seed: u64,
    block: u64,
    left: Vec<u8>,
}

impl SeededEntropy {
    /// Starts the stream of `seed`; equal seeds give equal streams.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            block: 0,
            left: Vec::new(),
        }
    }

    fn next_byte(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.left.pop() {
                return byte;
            }
            let mut input = [0; 16];
            input[..8].copy_from_slice(&self.seed.to_be_bytes());
            input[8..].copy_from_slice(&self.block.to_be_bytes());
            self.block += 1;
            self.left
                .extend(digest::digest(&digest::SHA256, &input).as_ref());
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next_byte();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(entropy: &mut dyn Entropy, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        entropy.fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_seed_gives_one_stream_however_it_is_cut() {
        let whole = take(&mut SeededEntropy::new(7), 100);
        let mut cut = SeededEntropy::new(7);
        let pieces: Vec<u8> = [1, 31, 33, 35]
            .into_iter()
            .flat_map(|n| take(&mut cut, n))
            .collect();
        assert_eq!(whole, pieces);
        assert_ne!(whole, take(&mut SeededEntropy::new(8), 100));
    }

    #[test]
    fn the_system_gives_new_bytes_each_time() {
        assert_ne!(take(&mut SystemEntropy, 32), take(&mut SystemEntropy, 32));
    }
}
