//! The top-k list: the best results of an operation, so that a whole vocabulary of logits need not be written.

/// A list of results, best first.
///
/// The order is that of the numbers, with NaN before everything: whoever reads the list then sees that there was one.
/// Of equal results the lower row is better.
#[derive(Debug, Clone, Default)]
pub struct TopK {
    entries: Vec<(u32, u32)>,
    capacity: usize,
}

/// A number that orders f32 bits as unsigned integers. Results are never -0 and NaN is canonical, so this is all that
/// the hardware's comparator needs.
pub const fn order_key(bits: u32) -> u32 {
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

impl TopK {
    /// An empty list for at most `capacity` results.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity + 1), capacity }
    }

    /// Forgets all results.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Offers the result of a row, given by its bits. Rows come in any order.
    pub fn offer(&mut self, row: u32, bits: u32) {
        let better = |&(other_row, other): &(u32, u32)| {
            (order_key(other), std::cmp::Reverse(other_row)) > (order_key(bits), std::cmp::Reverse(row))
        };
        if self.entries.len() == self.capacity && self.entries.last().is_none_or(better) {
            return;
        }
        let place = self.entries.partition_point(better);
        self.entries.insert(place, (row, bits));
        self.entries.truncate(self.capacity);
    }

    /// Rows and the bits of their results, best first.
    pub fn entries(&self) -> &[(u32, u32)] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_first_nan_before_all_and_ties_by_row() {
        let values = [1.0, -2.0, f32::NAN, 3.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, 0.0, 3.0];
        let mut list = TopK::new(7);
        for row in [8, 0, 1, 6, 2, 5, 3, 7, 4] {
            list.offer(row, values[row as usize].to_bits());
        }
        let rows: Vec<u32> = list.entries().iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [2, 6, 3, 8, 0, 4, 7]);
        list.clear();
        assert!(list.entries().is_empty());
    }
}
