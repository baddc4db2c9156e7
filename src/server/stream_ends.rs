//! The streams that the server ends, read from the HTTP/2 frames that it writes.

use super::frame::{HEAD, Head, RST_STREAM};

/// Skims written frames. It reads their heads and skips their payloads.
#[derive(Debug, Default)]
pub(super) struct StreamEnds {
    head: [u8; HEAD],
    /// The bytes of `head` that were written.
    count: usize,
    /// The rest of a payload.
    skip: usize,
}

impl StreamEnds {
    /// Reads written bytes. Calls `ended` with each stream that the server ends in them.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut ended: impl FnMut(u32)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            if let Some(byte) = self.head.get_mut(self.count) {
                *byte = *first;
            }
            self.count += 1;
            if self.count == HEAD {
                self.count = 0;
                let head = Head::from(self.head);
                self.skip = head.length;
                if head.ends_stream() || head.kind == RST_STREAM {
                    ended(head.stream);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::{DATA, END_STREAM, HEADERS};
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(vec![1; payload]);
        frame
    }

    /// Answers of three streams, one of which was reset, and frames of the connection.
    fn written() -> Vec<u8> {
        [
            frame(4, 0, 0, 12),
            frame(HEADERS, 4, 1, 30),
            frame(HEADERS, 4 | END_STREAM, 3, 30),
            frame(DATA, 0, 1, 300),
            frame(4, 1, 0, 0),
            frame(DATA, END_STREAM, 1, 0),
            frame(RST_STREAM, 0, 5, 4),
            frame(8, END_STREAM, 7, 4),
        ]
        .concat()
    }

    proptest! {
        #[test]
        fn ended_streams_are_found_however_the_bytes_are_written(cuts in proptest::collection::vec(1_usize..50, 1..50)) {
            let (bytes, mut ends, mut found) = (written(), StreamEnds::default(), Vec::new());
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                ends.read(part, |stream| found.push(stream));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, [3, 1, 5]);
        }
    }
}
