//! The memory that the table of header fields of an HTTP/2 connection keeps alive.
//!
//! HPACK (RFC 7541) lets a peer store header fields in a table of 4 KiB. In `h2` a stored `:path`, `:authority` or
//! `:scheme` shares the buffer in which it arrived, so that an entry of 33 bytes can keep 8 KiB alive, and a peer
//! decides how often. [`HeaderTable`] reads the peer's bytes too: it skims the frames (RFC 9113 section 4.1) and header
//! blocks for fields that are stored. It decodes no text and keeps no byte of it. Not here: evictions by the size of
//! entries. A block counts until as many fields were stored after it as the table can hold, so the result may be too
//! large, but not too small.
//!
//! It also counts trailers. `h2` keeps those of a stream until the stream's answer was sent, although no handler reads
//! them.

use std::collections::VecDeque;

use super::frame::{
    CONTINUATION, DATA, END_HEADERS, HEAD, HEADERS, Head, PADDED, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM,
};

/// The bytes of `h2`'s read buffers.
const BUFFER: usize = 8 << 10;
/// The bytes of the longest frame (RFC 9113 section 6.5.2). A longer one ends the connection.
const MAX_FRAME: usize = 16 << 10;
/// The most entries of the table: 4 KiB, of which each entry takes at least 33 bytes (RFC 7541 section 4.1).
const MAX_ENTRIES: usize = 124;
/// The bytes of the table, and its first index (RFC 7541 section 2.3.3).
const TABLE: usize = 4 << 10;
const DYNAMIC: u8 = 62;
/// The bytes of a decoded field in addition to its text.
const PER_FIELD: usize = 128;
/// The most streams that may be open. `h2` refuses far fewer.
const MAX_OPEN: usize = 1024;

/// What the table of one connection keeps alive.
#[derive(Debug)]
pub(super) struct HeaderTable {
    at: At,
    /// The length of the frame that is being read.
    frame: usize,
    block: Block,
    /// The bytes since the end of the last block that stored a field.
    since: usize,
    /// Blocks that stored fields which may still be in the table, oldest first.
    stored: VecDeque<Stored>,
    /// The number of fields in `stored`.
    fields: usize,
    /// The number of bytes in `stored`.
    held: usize,
    /// The bytes of the largest buffer into which Huffman codes were decoded. A stored string keeps it alive.
    decoded: usize,
    /// Whether the peer set the size of the table to 0, so that nothing is stored.
    is_disused: bool,
    /// The streams that the server has not ended and whose requests have not ended, or have ended with trailers; and
    /// the bytes of these trailers.
    open: Vec<(u32, usize)>,
    /// The bytes of all trailers in `open`.
    trailers: usize,
    /// The highest stream that the peer opened.
    highest: u32,
    /// The blocks that began, complete or not.
    blocks: u64,
    is_open: bool,
    is_violated: bool,
}

/// A header block that stored fields.
#[derive(Debug)]
struct Stored {
    fields: usize,
    bytes: usize,
}

/// The header block that is being read.
#[derive(Debug, Default)]
struct Block {
    /// The bytes of a priority before the block, and the stream of the block.
    skip: usize,
    stream: u32,
    part: Part,
    /// The stream on which the block's stream depends.
    dependency: u32,
    next: Next,
    /// The fields of the block, those of them that are stored, and its bytes.
    all: usize,
    fields: usize,
    /// Whether a stored field may keep a buffer alive.
    pins: bool,
    /// Whether a field is one of the table that the peer fills.
    refers: bool,
    /// Whether the block set the size of the table, and whether to 0.
    resized: Option<bool>,
    bytes: usize,
    /// Whether the string that is being read is a Huffman code.
    is_huffman: bool,
    /// The bytes of the largest buffer for a decoded string.
    decoded: usize,
}

/// What a block is of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// A block after the first one.
    Trailers,
}

/// The place in the stream.
#[derive(Clone, Copy, Debug)]
enum At {
    Preface(usize),
    Frame([u8; HEAD], usize),
    /// The rest of a payload that is not read.
    Skip(usize),
    /// The length of the padding; then the rest of the frame.
    Padding(u8, usize),
    /// The rest of a fragment, of the padding behind it, and whether the fragment ends its block.
    Fragment(usize, usize, bool),
    /// Not HTTP/2, or no longer in step.
    Off,
}

/// What follows in a header block (RFC 7541 section 6).
#[derive(Clone, Copy, Debug, Default)]
enum Next {
    #[default]
    Field,
    /// The rest of an integer, then a field.
    Index,
    /// The rest of the index of a name, then a value.
    NameIndex,
    Name,
    Value,
    /// The rest of a string's length, with the part read so far and its bits, and whether the string is a name.
    Length(usize, u32, bool),
    /// The rest of a string, and whether it is a name.
    Text(usize, bool),
}

impl HeaderTable {
    pub(super) fn new() -> Self {
        Self {
            at: At::Preface(0),
            frame: 0,
            block: Block::default(),
            since: 0,
            stored: VecDeque::new(),
            fields: 0,
            held: 0,
            decoded: 0,
            is_disused: false,
            open: Vec::new(),
            trailers: 0,
            highest: 0,
            blocks: 0,
            is_open: false,
            is_violated: false,
        }
    }

    /// Returns the bytes that the table, an unfinished frame and an unfinished block may keep alive.
    pub(super) fn held(&self) -> usize {
        let open = if self.is_open {
            2 * self.block.bytes + self.block.all * PER_FIELD + self.block.decoded()
        } else {
            0
        };
        // `h2` has room for the whole frame once it has read its head, whatever the frame's type.
        let frame = match self.at {
            At::Skip(_) | At::Padding(..) | At::Fragment(..) => self.frame.min(MAX_FRAME),
            At::Preface(_) | At::Frame(..) | At::Off => 0,
        };
        self.held + open + frame + self.trailers
    }

    /// Returns the number of the block that has begun and not ended.
    pub(super) fn open_block(&self) -> Option<u64> {
        self.is_open.then_some(self.blocks)
    }

    /// Returns whether the peer sent something that no client sends, or for which `h2` refuses only one stream. After
    /// that, this table no longer knows what `h2` stores, so the connection must end.
    pub(super) const fn is_violated(&self) -> bool {
        self.is_violated
    }

    /// Returns whether the bytes are not HTTP/2 or are no longer understood.
    pub(super) const fn is_off(&self) -> bool {
        matches!(self.at, At::Off)
    }

    /// Returns whether the preface of HTTP/2 was read and all frames since were understood.
    pub(super) const fn is_in_step(&self) -> bool {
        !matches!(self.at, At::Off | At::Preface(_))
    }

    /// Reads bytes of the peer.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match self.at {
                At::Off => return,
                At::Preface(matched) => {
                    bytes = rest;
                    self.at = if PREFACE.get(matched) != Some(first) {
                        At::Off
                    } else if matched + 1 == PREFACE.len() {
                        At::Frame([0; HEAD], 0)
                    } else {
                        At::Preface(matched + 1)
                    };
                }
                At::Frame(mut head, count) => {
                    bytes = rest;
                    self.since += 1;
                    if let Some(byte) = head.get_mut(count) {
                        *byte = *first;
                    }
                    self.at = if count + 1 == HEAD {
                        self.begin(head.into())
                    } else {
                        At::Frame(head, count + 1)
                    };
                }
                At::Skip(left) => {
                    let count = left.min(bytes.len());
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.since += count;
                    self.at = after(left - count, At::Skip);
                }
                At::Padding(flags, length) => {
                    bytes = rest;
                    self.since += 1;
                    self.at = self.fragment(flags, length, usize::from(*first));
                }
                At::Fragment(left, padding, ends) => {
                    let count = left.min(bytes.len());
                    let (part, rest) = bytes.split_at(count);
                    bytes = rest;
                    self.since += count;
                    self.block.read(part);
                    self.at = if count < left {
                        At::Fragment(left - count, padding, ends)
                    } else {
                        self.end_fragment(padding, ends)
                    };
                }
            }
        }
    }

    /// Records that one of the two sides ended a stream for good. Returns whether less is kept now.
    pub(super) fn has_ended(&mut self, stream: u32) -> bool {
        let Some(place) = self.open.iter().position(|(open, _)| *open == stream) else {
            return false;
        };
        let (_, trailers) = self.open.swap_remove(place);
        self.trailers -= trailers;
        trailers > 0
    }

    /// Records a stream from the head of a frame of the peer.
    fn note(&mut self, head: Head) {
        let stream = head.stream;
        match head.kind {
            HEADERS if stream > self.highest => {
                self.highest = stream;
                if !head.ends_stream() {
                    self.open.push((stream, 0));
                    self.is_violated |= self.open.len() > MAX_OPEN;
                }
            }
            RST_STREAM => drop(self.has_ended(stream)),
            // The end of the body. Trailers cannot follow.
            DATA if head.ends_stream() => drop(self.has_ended(stream)),
            _ => {}
        }
    }

    /// Records the trailers of a stream.
    fn keep_trailers(&mut self, block: &Block) {
        let mut open = self.open.iter_mut();
        if let Some((_, trailers)) = open.find(|(open, _)| *open == block.stream) {
            // All references together keep no more text than the table has.
            let referred = if block.refers { TABLE } else { 0 };
            let bytes = 2 * block.bytes + block.all * PER_FIELD + block.decoded() + referred;
            *trailers += bytes;
            self.trailers += bytes;
        }
    }

    /// Begins the payload of a frame.
    fn begin(&mut self, head: Head) -> At {
        let Head {
            length,
            kind,
            flags,
            stream,
        } = head;
        // Only its own continuation may follow an unfinished block (RFC 9113 section 4.3), and clients push nothing.
        self.is_violated |= kind == PUSH_PROMISE || self.is_open != (kind == CONTINUATION);
        let part = if stream <= self.highest {
            Part::Trailers
        } else {
            Part::Head
        };
        self.note(head);
        self.frame = length;
        if kind == HEADERS {
            self.block = Block {
                stream,
                part,
                ..Block::default()
            };
            self.blocks += 1;
            self.is_open = true;
        }
        match kind {
            HEADERS if flags & PADDED != 0 && length > 0 => At::Padding(flags, length - 1),
            HEADERS => self.fragment(flags, length, 0),
            // It has neither padding nor a priority.
            CONTINUATION => self.fragment(flags & END_HEADERS, length, 0),
            _ => after(length, At::Skip),
        }
    }

    /// Begins the fragment of a header block, behind the length of its padding.
    fn fragment(&mut self, flags: u8, length: usize, padding: usize) -> At {
        let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
        let Some(fragment) = length.checked_sub(padding + priority) else {
            // A connection error of the type PROTOCOL_ERROR, after which nothing is read.
            return At::Off;
        };
        self.block.skip = priority;
        let ends = flags & END_HEADERS != 0;
        if fragment + priority == 0 {
            return self.end_fragment(padding, ends);
        }
        At::Fragment(fragment + priority, padding, ends)
    }

    fn end_fragment(&mut self, padding: usize, ends: bool) -> At {
        let block = &self.block;
        // A stream that depends on itself is refused before its block is decoded.
        self.is_violated |= block.dependency != 0 && block.dependency == block.stream;
        if ends {
            let block = std::mem::take(&mut self.block);
            self.is_open = false;
            self.resize(block.resized);
            if block.part == Part::Trailers {
                self.keep_trailers(&block);
            }
            if !self.is_disused {
                self.decoded = self.decoded.max(block.decoded());
                self.store(&block);
            }
        }
        after(padding, At::Skip)
    }

    /// Records the size that a block set for the table before its fields. A size of 0 evicts all entries.
    fn resize(&mut self, to_zero: Option<bool>) {
        self.is_disused = to_zero.unwrap_or(self.is_disused);
        if self.is_disused {
            self.stored.clear();
            (self.fields, self.held, self.decoded) = (0, 0, 0);
        }
    }

    /// Records a complete block.
    fn store(&mut self, block: &Block) {
        if block.fields == 0 {
            return;
        }
        if !block.pins {
            // Its fields take places of earlier ones.
            if let Some(last) = self.stored.back_mut() {
                last.fields += block.fields;
                self.fields += block.fields;
            }
            self.evict();
            return;
        }
        // The block lies in buffers of its own, and in at most one that it shares with the bytes before it.
        let bytes = self.since.min(block.bytes * 2 + BUFFER) + self.decoded;
        self.since = 0;
        let fields = block.fields.min(MAX_ENTRIES);
        self.stored.push_back(Stored { fields, bytes });
        self.fields += fields;
        self.held += bytes;
        self.evict();
    }

    /// Drops blocks whose fields are certainly no longer in the table.
    fn evict(&mut self) {
        while let Some(oldest) = self.stored.front()
            && self.fields - oldest.fields >= MAX_ENTRIES
        {
            self.fields -= oldest.fields;
            self.held -= oldest.bytes;
            self.stored.pop_front();
        }
    }
}

/// Returns the place before `left` more bytes, or before the next frame if there are none.
fn after(left: usize, at: impl FnOnce(usize) -> At) -> At {
    if left == 0 {
        At::Frame([0; HEAD], 0)
    } else {
        at(left)
    }
}

impl Block {
    /// Reads a part of the block.
    fn read(&mut self, part: &[u8]) {
        let skipped = self.skip.min(part.len());
        for byte in part.iter().take(skipped) {
            // Four bytes of a stream with a flag in the first bit, and one of a weight.
            if self.skip > 1 {
                self.dependency = (self.dependency << 8) | u32::from(*byte);
            }
            self.skip -= 1;
        }
        self.dependency &= u32::MAX >> 1;
        let mut part = part.get(skipped..).unwrap_or_default();
        self.bytes += part.len();
        while let Some((byte, rest)) = part.split_first() {
            if let Next::Text(left, is_name) = self.next {
                let count = left.min(part.len());
                part = part.get(count..).unwrap_or_default();
                self.next = text(left - count, is_name);
            } else {
                part = rest;
                self.next = self.step(*byte);
            }
        }
    }

    /// Returns what follows a byte.
    fn step(&mut self, byte: u8) -> Next {
        let has_more = byte & 0x80 != 0;
        if matches!(self.next, Next::Field) {
            self.all += 1;
        }
        match self.next {
            // An indexed field, and the new size of the table.
            Next::Field if byte & 0x80 != 0 => {
                self.refers |= byte & 0x7f >= DYNAMIC;
                index(byte & 0x7f, 0x7f)
            }
            Next::Field if byte & 0xe0 == 0x20 => {
                self.resized = Some(byte == 0x20);
                index(byte & 0x1f, 0x1f)
            }
            // A literal that is stored, and one that is not.
            Next::Field if byte & 0x40 != 0 => {
                self.fields += 1;
                self.pins |= may_pin(byte & 0x3f);
                self.refers |= byte & 0x3f >= DYNAMIC;
                name(byte & 0x3f, 0x3f)
            }
            Next::Field => {
                // A longer index may be one of the table.
                self.refers |= byte & 0x0f == 0x0f;
                name(byte & 0x0f, 0x0f)
            }
            Next::Index if has_more => Next::Index,
            Next::Index => Next::Field,
            Next::NameIndex if has_more => Next::NameIndex,
            Next::NameIndex => Next::Value,
            Next::Name | Next::Value => {
                let is_name = matches!(self.next, Next::Name);
                self.is_huffman = byte & 0x80 != 0;
                match byte & 0x7f {
                    0x7f => Next::Length(0x7f, 0, is_name),
                    length => self.string(length.into(), is_name),
                }
            }
            Next::Length(sum, bits, is_name) => {
                let more = usize::from(byte & 0x7f).checked_shl(bits);
                let sum = sum.saturating_add(more.unwrap_or(usize::MAX));
                if has_more {
                    Next::Length(sum, bits.saturating_add(7), is_name)
                } else {
                    self.string(sum, is_name)
                }
            }
            Next::Text(left, is_name) => text(left.saturating_sub(1), is_name),
        }
    }
}

impl Block {
    /// Begins a string. A Huffman code is decoded into a buffer of eight fifths of its length.
    fn string(&mut self, length: usize, is_name: bool) -> Next {
        if self.is_huffman {
            self.decoded = self.decoded.max(length.saturating_mul(8) / 5);
        }
        text(length, is_name)
    }

    /// Returns the bytes of the largest buffer for a decoded string. Only strings that arrived are decoded.
    fn decoded(&self) -> usize {
        self.decoded.min(self.bytes.saturating_mul(8) / 5)
    }
}

/// Whether a field whose name has this index (RFC 7541 appendix A) may be `:authority`, `:path` or `:scheme`. `h2`
/// copies the values of other fields. A new name, and one of the dynamic table, may be any.
const fn may_pin(name: u8) -> bool {
    matches!(name, 0 | 1 | 4..=7 | 62..)
}

fn index(value: u8, full: u8) -> Next {
    if value == full {
        Next::Index
    } else {
        Next::Field
    }
}

/// Returns what follows the index of a name; 0: the name itself.
fn name(value: u8, full: u8) -> Next {
    match value {
        0 => Next::Name,
        value if value == full => Next::NameIndex,
        _ => Next::Value,
    }
}

fn text(left: usize, is_name: bool) -> Next {
    match (left, is_name) {
        (0, true) => Next::Value,
        (0, false) => Next::Field,
        _ => Next::Text(left, is_name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::END_STREAM;
    use super::*;

    /// `:path: /abc`, stored: 32 bytes and the text in the table.
    const STORED: &[u8] = b"\x44\x04/abc";
    /// `:method: GET` by its index, and two literals that are not stored: a new name and one of the static table.
    const NOT_STORED: &[u8] = b"\x82\x00\x01a\x01b\x0f\x0d\x03xyz";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    /// A request without a body. A further one on the same stream does not count as trailers.
    fn headers(block: &[u8]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, block)
    }

    fn held(frames: &[Vec<u8>]) -> usize {
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        for frame in frames {
            table.read(frame);
        }
        assert!(matches!(table.at, At::Frame(_, 0)), "{table:?}");
        table.held()
    }

    #[test]
    fn only_blocks_that_store_a_field_count_with_the_bytes_since_the_last_one() {
        let (stored, not_stored) = (headers(STORED), headers(NOT_STORED));
        assert_eq!(held(std::slice::from_ref(&not_stored)), 0);
        assert_eq!(held(std::slice::from_ref(&stored)), stored.len());
        let ping = frame(6, 0, &[0; 8]);
        let all = [not_stored.clone(), ping.clone(), stored.clone(), not_stored];
        assert_eq!(held(&all), all[0].len() + all[1].len() + all[2].len());
    }

    #[test]
    fn a_frame_of_any_type_counts_until_it_has_ended() {
        // DATA, a type of RFC 9113, and one that no one knows.
        for kind in [DATA, 8, 0x77] {
            let mut table = HeaderTable::new();
            table.read(PREFACE);
            let frame = frame(kind, 0, &[0; 16_000]);
            let (most, rest) = frame.split_at(frame.len() - 1);
            table.read(most);
            assert_eq!(table.held(), 16_000, "{kind:x}");
            table.read(rest);
            assert_eq!(table.held(), 0, "{kind:x}");
        }
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        table.read(&[0xff, 0xff, 0xff, 0x77, 0, 0, 0, 0, 0]);
        assert_eq!(table.held(), MAX_FRAME, "a longer one ends the connection");
    }

    /// `h2` copies the values of ordinary fields, so a client that stores its user agent keeps nothing alive.
    #[test]
    fn only_fields_that_may_be_of_the_request_line_count() {
        for (first, counts) in [
            (0x41, true),
            (0x44, true),
            (0x46, true),
            (0x7e, true),
            (0x7a, false),
            (0x57, false),
            (0x42, false),
        ] {
            let block = headers(&[first, 3, b'a', b'b', b'c']);
            assert_eq!(held(&[block]) > 0, counts, "{first:x}");
        }
    }

    #[test]
    fn other_fields_replace_those_that_count() {
        let other = headers(&[0x7a, 1, b'a']);
        let mut frames = vec![headers(STORED), headers(STORED)];
        frames.extend(std::iter::repeat_n(other, MAX_ENTRIES));
        assert_eq!(held(&frames), headers(STORED).len(), "the older of two");
    }

    #[test]
    fn bytes_of_other_buffers_do_not_count() {
        let filler = frame(0xbe, 0, &[0; 16_000]);
        let bytes = held(&[filler, headers(STORED)]);
        assert_eq!(bytes, BUFFER + 2 * STORED.len());
    }

    #[test]
    fn a_block_counts_until_the_table_must_have_evicted_it() {
        let filler = frame(0xbe, 0, &[0; 16_000]);
        let large = BUFFER + 2 * STORED.len();
        let small = headers(STORED).len();
        let mut frames = vec![filler, headers(STORED)];
        frames.extend(std::iter::repeat_n(headers(STORED), MAX_ENTRIES - 1));
        assert_eq!(held(&frames), large + (MAX_ENTRIES - 1) * small);
        frames.push(headers(STORED));
        assert_eq!(held(&frames), MAX_ENTRIES * small);
    }

    #[test]
    fn a_block_is_read_across_frames_and_behind_padding_and_priority() {
        let block = [NOT_STORED, STORED].concat();
        let whole = held(&[headers(&block)]);
        let padded = [&[3], &[0; 5][..], &block, &[0x44; 3]].concat();
        let padded = held(&[frame(HEADERS, END_HEADERS | PADDED | PRIORITY, &padded)]);
        assert_eq!(
            padded,
            whole + 6,
            "padding behind the block does not count yet"
        );
        for cut in 0..=block.len() {
            let parts = [
                frame(HEADERS, 0, &block[..cut]),
                frame(CONTINUATION, END_HEADERS, &block[cut..]),
            ];
            assert_eq!(held(&parts), whole + HEAD, "cut at {cut}");
        }
    }

    /// Clients do this after the server has announced a table of 0 bytes.
    #[test]
    fn a_table_of_no_bytes_stores_nothing() {
        let to_zero = headers(&[&[0x20], STORED].concat());
        let to_more = headers(&[&[0x3f, 0x01], STORED].concat());
        let stored = headers(STORED);
        let frames = [stored.clone(), stored.clone(), to_zero, stored];
        assert!(held(&frames[..2]) > 0);
        assert_eq!(held(&frames[..3]), 0);
        assert_eq!(held(&frames), 0);
        assert!(held(&[&frames[..], &[to_more]].concat()) > 0);
    }

    #[test]
    fn a_size_counts_once_its_block_has_ended() {
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        table.read(&headers(STORED));
        table.read(&frame(HEADERS, 0, &[0x20]));
        assert!(table.held() > 0, "h2 has not decoded the block");
        table.read(&frame(CONTINUATION, END_HEADERS, b""));
        assert_eq!(table.held(), 0);
    }

    #[test]
    fn long_lengths_and_indices_are_read() {
        let mut block = b"\x7f\x80\x01\x7f\x81\x01".to_vec();
        block.extend([b'v'; 256]);
        block.extend(b"\xff\x80\x01\x3f\xe1\x1f");
        block.extend(STORED);
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        table.read(&headers(&block));
        assert_eq!(table.fields, 2, "{table:?}");
    }

    #[test]
    fn an_unfinished_block_counts_with_its_fields_until_it_ends() {
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        table.read(&frame(HEADERS, 0, &[0x82; 1000]));
        assert_eq!(table.open_block(), Some(1));
        assert!(table.held() > 1000 * PER_FIELD);
        table.read(&frame(CONTINUATION, END_HEADERS, b""));
        assert_eq!((table.open_block(), table.held()), (None, 0));
        assert!(!table.is_violated());
    }

    /// A stored string keeps the buffer into which a larger one was decoded.
    #[test]
    fn buffers_of_huffman_codes_count_with_what_is_stored() {
        let long = [&b"\x00\x01a\xff\xe1\x06"[..], &[0xff; 960]].concat();
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        table.read(&headers(&long));
        assert_eq!(table.held(), 0);
        table.read(&headers(STORED));
        assert!(table.held() >= 960 * 8 / 5, "{table:?}");
    }

    #[test]
    fn what_no_client_sends_is_a_violation() {
        let of_itself = [&[0, 0, 0, 1, 16], STORED].concat();
        let of_another = [&[0x80, 0, 0, 3, 16], STORED].concat();
        let open = frame(HEADERS, 0, STORED);
        for (frames, is_violated) in [
            (vec![headers(STORED), headers(STORED)], false),
            (
                vec![frame(HEADERS, END_HEADERS | PRIORITY, &of_another)],
                false,
            ),
            (
                vec![frame(HEADERS, END_HEADERS | PRIORITY, &of_itself)],
                true,
            ),
            (vec![open.clone(), headers(STORED)], true),
            (vec![open, frame(6, 0, &[0; 8])], true),
            (vec![frame(CONTINUATION, END_HEADERS, STORED)], true),
            (vec![frame(PUSH_PROMISE, END_HEADERS, STORED)], true),
        ] {
            let mut table = HeaderTable::new();
            table.read(PREFACE);
            table.read(&frames.concat());
            assert_eq!(table.is_violated(), is_violated, "{frames:x?}");
        }
    }

    fn of_stream(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(kind, flags, payload);
        frame[8] = stream;
        frame
    }

    #[test]
    fn trailers_count_until_their_stream_ends() {
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        let trailers = |stream| of_stream(HEADERS, END_HEADERS | END_STREAM, stream, &[0x82; 500]);
        for stream in [1, 3, 5] {
            table.read(&of_stream(HEADERS, END_HEADERS, stream, NOT_STORED));
        }
        assert_eq!(table.held(), 0);
        table.read(&trailers(1));
        let one = table.held();
        assert!(one > 500 * PER_FIELD);
        table.read(&trailers(3));
        assert_eq!(table.held(), 2 * one);
        assert!(table.has_ended(1), "the server has answered");
        assert_eq!(table.held(), one);
        table.read(&of_stream(RST_STREAM, 0, 3, &[0; 4]));
        assert_eq!(table.held(), 0, "the peer has given up");
        assert!(!table.has_ended(5));
        table.read(&of_stream(HEADERS, END_HEADERS, 7, NOT_STORED));
        table.read(&of_stream(HEADERS, END_HEADERS | END_STREAM, 7, &[0xbe]));
        assert!(table.held() > TABLE, "the text of a stored field");
        assert!(table.has_ended(7));
        table.read(&trailers(5));
        assert_eq!(table.held(), 0, "the answer was sent before");
        assert!(table.open.is_empty() && !table.is_violated());
    }

    #[test]
    fn a_request_without_trailers_leaves_nothing() {
        let mut table = HeaderTable::new();
        table.read(PREFACE);
        table.read(&of_stream(HEADERS, END_HEADERS | END_STREAM, 1, NOT_STORED));
        table.read(&of_stream(HEADERS, END_HEADERS, 3, NOT_STORED));
        table.read(&of_stream(DATA, 0, 3, b"a"));
        assert_eq!(table.open.len(), 1);
        table.read(&of_stream(DATA, END_STREAM, 3, b"b"));
        assert!(table.open.is_empty());
    }

    #[test]
    fn http_1_is_not_read() {
        let mut table = HeaderTable::new();
        table.read(b"POST / HTTP/1.1\r\n");
        assert!(table.is_off());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_however_they_arrive(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            kinds in proptest::collection::vec(0_u8..10, 0..12),
            cuts in proptest::collection::vec(1_usize..40, 1..40),
        ) {
            let mut stream = PREFACE.to_vec();
            for (number, kind) in kinds.iter().enumerate() {
                let part = &bytes[number.min(bytes.len())..];
                stream.extend(frame(*kind, bytes.get(number).copied().unwrap_or(0), part));
            }
            stream.extend(&bytes);
            let mut whole = HeaderTable::new();
            whole.read(&stream);
            let mut parts = HeaderTable::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                parts.read(part);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
            prop_assert!(whole.stored.len() <= MAX_ENTRIES + 1);
            prop_assert!(whole.held() <= (MAX_ENTRIES + 2) * (PER_FIELD + 4) * stream.len() + TABLE * kinds.len());
        }
    }
}
