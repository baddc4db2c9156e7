//! The number of objects to request in the next page of a list. Pure.

/// The wanted size of a page in bytes: few requests for usual objects, and little of the API server's memory at once.
const WANTED: usize = 4 << 20;
/// The number of objects in the first page, whose size is not known beforehand.
const FIRST: u32 = 32;
/// The largest number of objects in a page, which kubectl uses too.
const MOST: u32 = 500;
/// The largest factor by which a page may have more objects than the previous one.
const GROWTH: u32 = 4;

/// The `limit` of a list's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl Default for PageSize {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl PageSize {
    /// Returns the `limit` to send.
    pub const fn limit(self) -> u32 {
        self.0
    }

    /// Returns the size of the page that follows one with `objects` objects and `bytes` bytes.
    #[must_use]
    pub fn after(self, objects: usize, bytes: usize) -> Self {
        let most = self.0.saturating_mul(GROWTH).min(MOST);
        // At the average size in the last page, this many objects have the wanted size.
        let fitting = WANTED.saturating_mul(objects.max(1)) / bytes.max(1);
        let fitting = u32::try_from(fitting).unwrap_or(MOST);
        Self(fitting.clamp(1, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_fourfold_while_objects_are_small_and_shrink_at_once_when_they_are_large() {
        const MIB: usize = 1 << 20;
        let start = PageSize::default();
        assert_eq!(start.limit(), 32);
        for (limit, objects, bytes, next) in [
            // Usual objects of 2 KiB: fewer and fewer requests.
            (32, 32, 64 << 10, 128),
            (128, 128, 256 << 10, 500),
            (500, 500, MIB, 500),
            // Objects of 1 MiB.
            (32, 32, 32 * MIB, 4),
            (4, 4, 4 * MIB, 4),
            // Objects larger than a page should be: one at a time, and more again when they are small.
            (4, 4, 32 * MIB, 1),
            (1, 1, 64 * MIB, 1),
            (1, 1, 2 << 10, 4),
            // An API server that ignores the limit.
            (32, 10_000, 20 * MIB, 128),
            // A selector that matches nothing in this page.
            (32, 0, 100, 128),
            (500, 0, 0, 500),
            (1, usize::MAX, usize::MAX, 1),
        ] {
            assert_eq!(
                PageSize(limit).after(objects, bytes).limit(),
                next,
                "{limit}: {objects} objects of {bytes} bytes"
            );
        }
    }
}
