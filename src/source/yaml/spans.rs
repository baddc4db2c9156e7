//! The places of a value's parts in its text.

use std::ops::Range;

/// The place of a value in its text, and of everything in it. Offsets are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    start: u32,
    end: u32,
    inner: Inner,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Inner {
    #[default]
    Leaf,
    Map(Vec<Entry>),
    List(Vec<Spans>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Box<str>,
    pub(super) key: Range<u32>,
    pub(super) value: Spans,
}

/// The place of a JSON Pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key, if the place is a field of an object.
    pub key: Option<Range<usize>>,
    /// The value.
    pub value: Range<usize>,
    /// Whether the value is one scalar.
    pub scalar: bool,
    /// Whether the place itself exists. Otherwise this is the nearest enclosing one.
    pub exact: bool,
}

impl Spans {
    pub(super) fn leaf(range: Range<usize>) -> Self {
        let (start, end) = narrow(range);
        Self {
            start,
            end,
            inner: Inner::Leaf,
        }
    }

    pub(super) fn map(range: Range<usize>, entries: Vec<Entry>) -> Self {
        let (start, end) = narrow(range);
        Self {
            start,
            end,
            inner: Inner::Map(entries),
        }
    }

    pub(super) fn list(range: Range<usize>, items: Vec<Self>) -> Self {
        let (start, end) = narrow(range);
        Self {
            start,
            end,
            inner: Inner::List(items),
        }
    }

    /// Returns the same parts with another place for the whole, for an alias.
    pub(super) fn moved(&self, range: Range<usize>) -> Self {
        let (start, end) = narrow(range);
        Self {
            start,
            end,
            inner: self.inner.clone(),
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        if let Inner::List(items) = &self.inner {
            items
        } else {
            &[]
        }
    }

    /// Moves all places, for a part of a text that was read separately.
    pub(super) fn shift(&mut self, by: usize) {
        let (by, _) = narrow(by..by);
        self.start = self.start.saturating_add(by);
        self.end = self.end.saturating_add(by);
        match &mut self.inner {
            Inner::Leaf => {}
            Inner::List(items) => items.iter_mut().for_each(|item| item.shift(by as usize)),
            Inner::Map(entries) => {
                for entry in entries {
                    entry.key =
                        entry.key.start.saturating_add(by)..entry.key.end.saturating_add(by);
                    entry.value.shift(by as usize);
                }
            }
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        if let Inner::Map(entries) = &self.inner {
            entries
        } else {
            &[]
        }
    }

    /// Returns the items of the list in a field.
    pub(super) fn into_items(self, field: &str) -> Vec<Self> {
        let Inner::Map(entries) = self.inner else {
            return vec![];
        };
        let field = entries.into_iter().find(|entry| *entry.name == *field);
        match field.map(|entry| entry.value.inner) {
            Some(Inner::List(items)) => items,
            _ => vec![],
        }
    }

    /// Returns the place of the whole value.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Returns the place of a JSON Pointer (RFC 6901), or the nearest enclosing one.
    pub fn find(&self, pointer: &str) -> Found {
        let mut here = self;
        let mut key = None;
        let mut exact = true;
        for step in pointer.split('/').skip(1) {
            let next = match &here.inner {
                Inner::Leaf => None,
                Inner::Map(entries) => {
                    let name = step.replace("~1", "/").replace("~0", "~");
                    entries
                        .iter()
                        .find(|entry| *entry.name == *name)
                        .map(|entry| (Some(entry.key.clone()), &entry.value))
                }
                Inner::List(items) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (None, item)),
            };
            let Some((next_key, value)) = next else {
                exact = false;
                break;
            };
            key = next_key.map(|key| key.start as usize..key.end as usize);
            here = value;
        }
        Found {
            key,
            value: here.range(),
            scalar: matches!(here.inner, Inner::Leaf),
            exact,
        }
    }
}

/// Converts a range to four-byte offsets. Texts are at most 1 MiB long, so that every offset fits.
pub(super) fn narrow(range: Range<usize>) -> (u32, u32) {
    let fit = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    (fit(range.start), fit(range.end))
}
