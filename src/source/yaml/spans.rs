//! Where in a text each part of a value stands.

use std::ops::Range;

/// The place of a value in its text, and of all that is in it. Offsets are in bytes.
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

/// What stands at a JSON Pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key, where the place is a field of an object.
    pub key: Option<Range<usize>>,
    /// The value.
    pub value: Range<usize>,
    /// Whether the value is one scalar.
    pub scalar: bool,
    /// Whether the place itself is there; if not, this is the nearest one around it.
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

    /// The same parts, the whole being at another place: what an alias stands for.
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

    /// Moves it all, for a part of a text that was read by itself.
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

    /// Takes the items of a list at a field out.
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

    /// The place of the whole.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// What stands at a JSON Pointer, RFC 6901, or the nearest around it.
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

/// Texts are at most 1 MiB long, so that four bytes hold every offset.
pub(super) fn narrow(range: Range<usize>) -> (u32, u32) {
    let fit = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    (fit(range.start), fit(range.end))
}
