//! The streams that the server ends, read from the HTTP/2 frames that it writes.

/// The length of a frame's head (RFC 9113 section 4.1).
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const END_STREAM: u8 = 0x1;

/// Skims written frames. It reads their heads and skips their payloads.
#[derive(Debug, Default)]
pub(super) struct StreamEnds {
    head: [u8; FRAME_HEAD],
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
            if self.count == FRAME_HEAD {
                self.count = 0;
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                let is_last = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
                if is_last || kind == RST_STREAM {
                    ended(u32::from_be_bytes(stream) & (u32::MAX >> 1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
