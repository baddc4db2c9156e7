//! Adds a setting to the server's first SETTINGS frame, for which hyper has no option.
//!
//! `SETTINGS_HEADER_TABLE_SIZE` = 0 (RFC 9113 section 6.5.2) asks clients not to store header fields (HPACK, RFC 7541).
//! Stored fields keep read buffers alive, see [`HeaderTable`](super::header_table::HeaderTable). A client that obeys is
//! charged nothing. `h2` still has its own table of 4 KiB, which is empty as long as clients obey.

use super::frame::{HEAD, Head, SETTINGS};

/// The identifier of the setting, and the size.
const NO_HEADER_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];

/// How far the server has written its first frame.
#[derive(Debug, Default)]
pub(super) enum FirstSettings {
    /// Nothing was written yet.
    #[default]
    Expected,
    /// The frame is being written.
    Writing(Writing),
    /// It was written, or the connection does not speak HTTP/2.
    Done,
}

/// The frame in place of the original one.
#[derive(Debug)]
pub(super) struct Writing {
    frame: Vec<u8>,
    sent: usize,
    /// The length of the original frame.
    replaced: usize,
}

impl FirstSettings {
    /// Looks at the first bytes that are written to an HTTP/2 connection.
    pub(super) fn of(bytes: &[u8]) -> Self {
        amended(bytes).map_or(Self::Done, Self::Writing)
    }
}

impl Writing {
    /// Returns the bytes that must still be written.
    pub(super) fn rest(&self) -> &[u8] {
        self.frame.get(self.sent..).unwrap_or_default()
    }

    /// Records that the socket has taken `count` bytes. When it has taken all, returns the length of the original
    /// frame.
    pub(super) fn has_sent(&mut self, count: usize) -> Option<usize> {
        self.sent += count;
        self.rest().is_empty().then_some(self.replaced)
    }
}

/// Returns the first frame with the further setting; `None` if the bytes do not begin with a whole SETTINGS frame.
fn amended(bytes: &[u8]) -> Option<Writing> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let Head {
        length,
        kind: SETTINGS,
        flags: 0,
        stream: 0,
    } = Head::from(*head)
    else {
        return None;
    };
    let payload = rest.get(..length)?;
    // One byte of the length is enough for all settings that `hyper` has.
    let amended = u8::try_from(length + NO_HEADER_TABLE.len()).ok()?;
    let mut frame = vec![0, 0, amended, SETTINGS, 0, 0, 0, 0, 0];
    frame.extend(payload);
    frame.extend(NO_HEADER_TABLE);
    Some(Writing {
        frame,
        sent: 0,
        replaced: HEAD + length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SETTINGS frame with one setting, and another frame.
    const WRITTEN: &[u8] = &[
        0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100, 0, 0, 0, 4, 1, 0, 0, 0, 0,
    ];

    #[test]
    fn the_first_frame_gets_a_further_setting() {
        let FirstSettings::Writing(mut writing) = FirstSettings::of(WRITTEN) else {
            panic!("not a SETTINGS frame")
        };
        let frame = [&[0, 0, 12][..], &WRITTEN[3..15], &[0, 1, 0, 0, 0, 0]];
        assert_eq!(writing.rest(), frame.concat());
        assert_eq!(writing.has_sent(20), None);
        assert_eq!(writing.rest(), [0]);
        assert_eq!(writing.has_sent(1), Some(15));
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        let ack = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        let too_long = [[0, 0, 252, 4, 0, 0, 0, 0, 0].to_vec(), vec![0; 252]].concat();
        for bytes in [
            &WRITTEN[..14],
            &WRITTEN[..8],
            b"",
            b"HTTP/1.1 200 OK\r\n",
            &ack,
            &too_long,
        ] {
            assert!(
                matches!(FirstSettings::of(bytes), FirstSettings::Done),
                "{bytes:?}"
            );
        }
    }
}
