//! Counts by the number of their key, without pauses when they grow.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::size_of;

const CHUNK: usize = 128;

/// An array of numbers, all 0 at first, that grows without moving what it holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells<T>(Vec<Option<Box<[T; CHUNK]>>>);

impl<T: Copy + Default + PartialEq> Cells<T> {
    pub(crate) fn at(&self, index: u32) -> T {
        let (chunk, cell) = split(index);
        self.0
            .get(chunk)
            .and_then(Option::as_ref)
            .and_then(|chunk| chunk.get(cell))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn set(&mut self, index: u32, value: T) {
        let (chunk, cell) = split(index);
        if value == T::default() && self.0.get(chunk).is_none_or(Option::is_none) {
            return;
        }
        if self.0.len() <= chunk {
            self.0.resize_with(chunk + 1, || None);
        }
        if let Some(chunk) = self.0.get_mut(chunk) {
            let chunk = chunk.get_or_insert_with(|| Box::new([T::default(); CHUNK]));
            if let Some(cell) = chunk.get_mut(cell) {
                *cell = value;
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let chunks = self.0.iter().flatten().count();
        chunks * size_of::<[T; CHUNK]>() + self.0.capacity() * size_of::<Option<Box<[T; CHUNK]>>>()
    }
}

fn split(index: u32) -> (usize, usize) {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    (index / CHUNK, index % CHUNK)
}
