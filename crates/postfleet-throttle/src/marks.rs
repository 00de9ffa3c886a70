//! Entries that are to be looked at, each once, in the order in which they were marked.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A set of small numbers with an order. To mark and to take one costs the same however many there are.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    order: VecDeque<u32>,
    marked: Vec<bool>,
}

impl Marks {
    pub(crate) fn insert(&mut self, index: u32) {
        let Ok(at) = usize::try_from(index) else { return };
        if self.marked.len() <= at {
            self.marked.resize(at + 1, false);
        }
        if let Some(marked) = self.marked.get_mut(at)
            && !core::mem::replace(marked, true)
        {
            self.order.push_back(index);
        }
    }

    /// Takes the one that was marked first.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let index = self.order.pop_front()?;
        if let Some(marked) = usize::try_from(index).ok().and_then(|at| self.marked.get_mut(at)) {
            *marked = false;
        }
        Some(index)
    }

    /// Those that are marked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.order.iter().copied()
    }
}

impl Extend<u32> for Marks {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, indexes: I) {
        indexes.into_iter().for_each(|index| self.insert(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_in_the_order_of_its_mark() {
        let mut marks = Marks::default();
        marks.extend([5, 2, 5, 9, 2]);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [5, 2, 9]);
        assert_eq!(marks.pop(), Some(5));
        marks.insert(5);
        assert_eq!([marks.pop(), marks.pop(), marks.pop(), marks.pop()], [Some(2), Some(9), Some(5), None]);
    }
}
