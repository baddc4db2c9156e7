//! A push parser that copies some parts of JSON and skips the others.
//!
//! It follows the structure only as deep as [`Keep`] looks; a value below that is bytes up to its closing bracket. The
//! parser of a copied part checks its syntax; skipped parts are not checked at all. Written by hand, since it must take
//! chunks, skip values without storing them, and limit what it holds of each object.

use super::keep::{FieldAction, Keep, ValuePlace};

/// The longest known field name in bytes; longer fields are skipped. Kubernetes allows at most 317 bytes.
const LONGEST_NAME: usize = 512;
/// The deepest nesting of a copied value: safe for a recursive parser.
const DEEPEST: u32 = 100;
/// The capacity that the buffer keeps from one object to the next.
const ROOM: usize = 64 << 10;

/// The form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A list: its `items` are passed on one by one, and its `metadata`.
    List,
    /// A watch: each line is an event, passed on as `{"type": …, "object": …}`.
    Events,
    /// One object.
    Object,
}

/// A part of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// An object of a list, an event, or the one object.
    Item {
        /// The parts that are held.
        json: &'a [u8],
        /// The size of the whole item in bytes.
        bytes: usize,
        /// Whether a part to hold was left out because it was too large or nested too deeply.
        is_cut: bool,
    },
    /// The metadata of a list.
    ListMetadata(&'a [u8]),
    /// A line that is not a JSON object; scanning continues with the next line.
    BadLine,
}

/// The response is not JSON of the requested form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response is not JSON of the requested form")]
pub struct MalformedResponse;

/// Scans one response.
#[derive(Debug)]
pub struct Scanner {
    framing: Framing,
    keep: Keep,
    state: State,
    levels: Vec<Level>,
    /// The parts of the current piece to hold.
    out: Vec<u8>,
    /// The name of the current field, as written between its quotes.
    name: Vec<u8>,
    is_cut: bool,
    /// The size of the current piece so far, in bytes.
    bytes: usize,
    /// The number of values copied into the current piece; an empty list or map counts as two.
    values: usize,
    /// Where the current field starts in `out`, with its comma and name.
    mark: usize,
}

/// A value whose fields are decided one by one.
#[derive(Clone, Copy, Debug)]
struct Level {
    place: ValuePlace,
    /// Whether a field was copied.
    has_fields: bool,
    /// Where the field with this value starts in `out`.
    mark: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the response, or before the next event.
    Start,
    /// Before a value.
    Value(FieldAction),
    /// Before a name, or before the end if `is_first`.
    Name { is_first: bool },
    /// Within a name.
    InName { is_escaped: bool },
    /// After a name.
    Colon,
    /// After a field or an item.
    After,
    /// Before an item of a list, or before the end if `is_first`.
    Item { is_first: bool },
    /// Within a value whose structure does not matter.
    Opaque(Opaque),
    /// After the response.
    End,
    /// Within a bad line.
    Skip,
    /// After malformed input.
    Broken,
}

#[derive(Clone, Copy, Debug)]
struct Opaque {
    is_copied: bool,
    depth: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Brackets,
    Text,
    /// After a backslash.
    Escape,
    /// A number, `true`, `false` or `null`: ends before a byte that cannot be part of it.
    Word,
}

impl Scanner {
    /// Creates a scanner for one response.
    pub const fn new(framing: Framing, keep: Keep) -> Self {
        Self {
            framing,
            keep,
            state: State::Start,
            levels: Vec::new(),
            out: Vec::new(),
            name: Vec::new(),
            is_cut: false,
            bytes: 0,
            values: 0,
            mark: 0,
        }
    }

    /// Scans the next bytes and passes on the pieces that they complete.
    ///
    /// # Errors
    /// [`MalformedResponse`], but never for events: a malformed line is skipped.
    pub fn push(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Piece<'_>),
    ) -> Result<(), MalformedResponse> {
        let mut at = 0;
        while at < chunk.len() {
            match self.step(&chunk[at..], sink) {
                Ok(taken) => at += taken,
                Err(MalformedResponse) if self.framing == Framing::Events => {
                    self.forget();
                    self.state = State::Skip;
                }
                Err(malformed) => {
                    self.state = State::Broken;
                    return Err(malformed);
                }
            }
        }
        Ok(())
    }

    /// Ends the response.
    ///
    /// # Errors
    /// [`MalformedResponse`] if it is incomplete; an incomplete event is ignored.
    pub fn finish(&self) -> Result<(), MalformedResponse> {
        match (self.framing, self.state) {
            (Framing::Events, _) | (_, State::End) => Ok(()),
            _ => Err(MalformedResponse),
        }
    }

    /// Returns the number of bytes held now.
    pub fn held(&self) -> usize {
        self.out.capacity() + self.name.capacity()
    }

    fn forget(&mut self) {
        self.levels.clear();
        self.next_piece();
    }

    fn next_piece(&mut self) {
        self.out.clear();
        self.out.shrink_to(ROOM);
        (self.is_cut, self.bytes, self.mark) = (false, 0, 0);
        self.values = 0;
    }

    /// Scans one byte, or a run of similar bytes, and returns how many it scanned.
    fn step(
        &mut self,
        rest: &[u8],
        sink: &mut impl FnMut(Piece<'_>),
    ) -> Result<usize, MalformedResponse> {
        let byte = rest[0];
        match self.state {
            State::Skip => return Ok(self.skip(rest, sink)),
            State::Broken => return Err(MalformedResponse),
            State::Opaque(opaque) => return self.opaque(opaque, rest, sink),
            _ => self.bytes += 1,
        }
        Ok(match self.state {
            State::Start if byte == b'\n' => 1,
            // Each line is an event, so no event spans lines.
            _ if byte == b'\n' && self.framing == Framing::Events => return Err(MalformedResponse),
            State::InName { is_escaped } => self.in_name(byte, is_escaped),
            _ if byte.is_ascii_whitespace() => 1,
            State::Start => self.start(byte)?,
            State::Value(fate) => self.value(fate, byte)?,
            State::Name { is_first } => match byte {
                b'"' => {
                    self.name.clear();
                    self.state = State::InName { is_escaped: false };
                    1
                }
                b'}' if is_first => self.close(sink),
                _ => return Err(MalformedResponse),
            },
            State::Colon if byte == b':' => {
                self.state = State::Value(self.fate_of_field());
                1
            }
            State::Item { is_first: true } if byte == b']' => self.close(sink),
            State::Item { .. } => self.value(FieldAction::Enter(ValuePlace::Object), byte)?,
            State::After => self.after(byte, sink)?,
            _ => return Err(MalformedResponse),
        })
    }

    fn start(&mut self, byte: u8) -> Result<usize, MalformedResponse> {
        if byte != b'{' {
            return Err(MalformedResponse);
        }
        let fate = match self.framing {
            Framing::List => FieldAction::Enter(ValuePlace::List),
            Framing::Events => FieldAction::Enter(ValuePlace::Event),
            Framing::Object => FieldAction::Enter(ValuePlace::Object),
        };
        self.value(fate, byte)
    }

    fn in_name(&mut self, byte: u8, is_escaped: bool) -> usize {
        if byte == b'"' && !is_escaped {
            self.state = State::Colon;
            return 1;
        }
        if self.name.len() <= LONGEST_NAME {
            self.name.push(byte);
        }
        let is_escaped = byte == b'\\' && !is_escaped;
        self.state = State::InName { is_escaped };
        1
    }

    /// Decides about the field whose name was read, and writes its name if it is held.
    fn fate_of_field(&mut self) -> FieldAction {
        let Some(level) = self.levels.last() else {
            return FieldAction::Drop;
        };
        let (place, has_fields) = (level.place, level.has_fields);
        if self.name.len() > LONGEST_NAME {
            return FieldAction::Drop;
        }
        let fate = self.keep.fate(place, &self.name);
        self.mark = self.out.len();
        if fate == FieldAction::Drop || place == ValuePlace::List {
            return fate;
        }
        // The fields of other places are few, and include those that identify the object.
        let is_one_of_many = matches!(place, ValuePlace::Labels | ValuePlace::Annotations);
        if self.out.len() + self.name.len() + 4 > self.keep.most_bytes(place)
            || is_one_of_many && self.values >= self.keep.most_values()
        {
            self.is_cut = true;
            return FieldAction::Drop;
        }
        self.values += 1;
        if has_fields {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(&self.name);
        self.out.extend_from_slice(b"\":");
        fate
    }

    fn value(&mut self, fate: FieldAction, byte: u8) -> Result<usize, MalformedResponse> {
        match (fate, byte) {
            (FieldAction::Enter(ValuePlace::Items), b'[') => {
                self.enter(ValuePlace::Items);
                self.state = State::Item { is_first: true };
                return Ok(1);
            }
            // Go servers sometimes write an empty list as null.
            (FieldAction::Enter(ValuePlace::Items), _) => {}
            (FieldAction::Enter(place), b'{') => {
                self.enter(place);
                if place != ValuePlace::List {
                    self.out.push(b'{');
                }
                self.state = State::Name { is_first: true };
                return Ok(1);
            }
            _ => {}
        }
        let is_copied = !matches!(
            fate,
            FieldAction::Drop | FieldAction::Enter(ValuePlace::Items)
        );
        let kind = match byte {
            b'{' | b'[' => Kind::Brackets,
            b'"' => Kind::Text,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Kind::Word,
            _ => return Err(MalformedResponse),
        };
        let mut opaque = Opaque {
            is_copied,
            depth: 0,
            kind,
        };
        let taken = usize::from(kind == Kind::Text);
        if kind == Kind::Text {
            self.copy(&mut opaque, b"\"");
        } else {
            // The byte is counted when it is scanned again.
            self.bytes -= 1;
        }
        self.state = State::Opaque(opaque);
        Ok(taken)
    }

    fn enter(&mut self, place: ValuePlace) {
        self.levels.push(Level {
            place,
            has_fields: false,
            mark: self.mark,
        });
    }

    /// Ends an object or list whose parts were decided one by one.
    fn close(&mut self, sink: &mut impl FnMut(Piece<'_>)) -> usize {
        if let Some(level) = self.levels.pop() {
            self.mark = level.mark;
            if !matches!(level.place, ValuePlace::List | ValuePlace::Items) {
                self.out.push(b'}');
            }
        }
        self.done(true, sink);
        1
    }

    /// Ends a value.
    fn done(&mut self, is_copied: bool, sink: &mut impl FnMut(Piece<'_>)) {
        self.state = State::After;
        match self.levels.last_mut() {
            None if self.framing == Framing::List => self.state = State::End,
            None => {
                self.hand_on(sink);
                self.state = match self.framing {
                    Framing::Events => State::Start,
                    _ => State::End,
                };
            }
            Some(level) if level.place == ValuePlace::Items => self.hand_on(sink),
            Some(level) if level.place == ValuePlace::List => {
                if is_copied && !self.out.is_empty() {
                    sink(Piece::ListMetadata(&self.out));
                }
                self.next_piece();
            }
            Some(level) => level.has_fields |= is_copied,
        }
    }

    fn hand_on(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        sink(Piece::Item {
            json: &self.out,
            bytes: self.bytes,
            is_cut: self.is_cut,
        });
        self.next_piece();
    }

    fn after(
        &mut self,
        byte: u8,
        sink: &mut impl FnMut(Piece<'_>),
    ) -> Result<usize, MalformedResponse> {
        let in_items = self
            .levels
            .last()
            .is_some_and(|level| level.place == ValuePlace::Items);
        match (in_items, byte) {
            (true, b',') => self.state = State::Item { is_first: false },
            (false, b',') => self.state = State::Name { is_first: false },
            (true, b']') | (false, b'}') => return Ok(self.close(sink)),
            _ => return Err(MalformedResponse),
        }
        Ok(1)
    }

    fn skip(&mut self, rest: &[u8], sink: &mut impl FnMut(Piece<'_>)) -> usize {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return rest.len();
        };
        sink(Piece::BadLine);
        self.state = State::Start;
        end + 1
    }

    /// Scans a value whose structure does not matter, as far as it has arrived.
    fn opaque(
        &mut self,
        mut opaque: Opaque,
        rest: &[u8],
        sink: &mut impl FnMut(Piece<'_>),
    ) -> Result<usize, MalformedResponse> {
        let in_lines = self.framing == Framing::Events;
        let is_end = |byte: &u8| match opaque.kind {
            Kind::Text => matches!(byte, b'"' | b'\\') || (in_lines && *byte == b'\n'),
            Kind::Brackets => {
                matches!(byte, b'"' | b'{' | b'}' | b'[' | b']') || (in_lines && *byte == b'\n')
            }
            Kind::Word => !matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E'),
            Kind::Escape => true,
        };
        let plain = rest.iter().position(is_end).unwrap_or(rest.len());
        self.copy(&mut opaque, &rest[..plain]);
        self.bytes += plain;
        let Some(byte) = rest.get(plain) else {
            self.state = State::Opaque(opaque);
            return Ok(plain);
        };
        if opaque.kind == Kind::Word {
            // The byte that ends a word is not part of it.
            self.done(opaque.is_copied, sink);
            return Ok(plain);
        }
        if in_lines && *byte == b'\n' {
            return Err(MalformedResponse);
        }
        self.bytes += 1;
        let mut is_done = false;
        match (opaque.kind, byte) {
            (Kind::Text, b'\\') => opaque.kind = Kind::Escape,
            (Kind::Text, _) if opaque.depth == 0 => is_done = true,
            (Kind::Text, _) => opaque.kind = Kind::Brackets,
            (Kind::Escape, _) | (_, b'"') => opaque.kind = Kind::Text,
            (_, b'{' | b'[') => opaque.depth = opaque.depth.saturating_add(1),
            _ => {
                opaque.depth = opaque.depth.saturating_sub(1);
                is_done = opaque.depth == 0;
            }
        }
        self.copy(&mut opaque, std::slice::from_ref(byte));
        if opaque.depth > DEEPEST {
            self.leave_out(&mut opaque);
        }
        self.state = State::Opaque(opaque);
        if is_done {
            self.done(opaque.is_copied, sink);
        }
        Ok(plain + 1)
    }

    fn copy(&mut self, opaque: &mut Opaque, bytes: &[u8]) {
        if !opaque.is_copied {
            return;
        }
        let place = self
            .levels
            .last()
            .map_or(ValuePlace::Object, |level| level.place);
        let is_reference = place == ValuePlace::Metadata && self.name == b"ownerReferences";
        let most = if is_reference {
            self.keep.most_references()
        } else {
            self.keep.most_bytes(place)
        };
        let is_structure = opaque.kind == Kind::Brackets;
        if is_structure {
            let begins = |byte: &&u8| matches!(byte, b',' | b'{' | b'[');
            self.values += bytes.iter().filter(begins).count();
        }
        if self.out.len() + bytes.len() > most
            || is_structure && self.values > self.keep.most_values()
        {
            self.leave_out(opaque);
        } else {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Removes the current field from the output and skips the rest of it.
    fn leave_out(&mut self, opaque: &mut Opaque) {
        if std::mem::take(&mut opaque.is_copied) {
            self.out.truncate(self.mark);
            self.is_cut = true;
        }
    }
}
