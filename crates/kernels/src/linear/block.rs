//! The row blocks of a matrix and their groups, as the kernels read them.

use edgewen_layout::{BlockPlaces, LINE_INPUTS, Places, RowBlockShape, SEGMENT_SHAPE};

/// Where the parts of all row blocks lie: worked out once a product, because a block takes no longer than a miss.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// Those of block 0.
    first: BlockPlaces,
    /// Bytes from one block to the next, but for the low lines.
    block_bytes: usize,
    /// Bytes from the low lines of one block to those of the next.
    low_block_bytes: usize,
    pub(super) groups: usize,
    /// Bytes of the lines of a group.
    group_bytes: usize,
}

impl Parts {
    pub(super) const SEGMENT: Self = Self::new(&SEGMENT_SHAPE);

    pub(super) const fn new(shape: &RowBlockShape) -> Self {
        let (first, second) = (shape.places(0), shape.places(1));
        Self {
            first,
            block_bytes: second.lines.first - first.lines.first,
            low_block_bytes: second.low_lines.first - first.low_lines.first,
            groups: shape.groups(),
            group_bytes: shape.group.get() * LINE_INPUTS,
        }
    }

    /// Bytes up to the end of the last group of block `block`.
    pub(super) const fn end(&self, block: usize) -> usize {
        let Self { first, groups, group_bytes, .. } = self;
        let Some(last) = groups.checked_sub(1) else { return 0 };
        let (start, low_start) = (block * self.block_bytes, block * self.low_block_bytes);
        let ends = [
            start + first.scales.of(last) + size_of::<Scales>(),
            start + first.zeros.of(last) + size_of::<Zeros>(),
            start + first.lines.of(last) + *group_bytes,
            low_start + first.low_lines.of(last) + *group_bytes,
        ];
        let (mut end, mut i) = (0, 0);
        while i < ends.len() {
            end = if end < ends[i] { ends[i] } else { end };
            i += 1;
        }
        end
    }
}

/// One row block.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// The matrix.
    data: &'a [u8],
    parts: &'a Parts,
    /// Bytes before the block, but for its low lines.
    start: usize,
    /// Bytes before the low lines of the block, less those before block 0's.
    low_start: usize,
}

/// f16 of 16 channels.
pub(super) type Scales = [u8; 32];

/// u4 of 16 channels.
pub(super) type Zeros = [u8; 8];

/// The parts of one group of a row block.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) scales: &'a Scales,
    pub(super) zeros: &'a Zeros,
    /// Runs of four lines of the high plane, or of the only one.
    pub(super) quads: &'a [[[u8; 64]; 4]],
    /// Those of the low plane; with four bits, again those of the only one.
    pub(super) low_quads: &'a [[[u8; 64]; 4]],
}

impl<'a> Block<'a> {
    /// # Safety
    /// `data` must hold every block up to this one: see [`Parts::end`].
    #[inline(always)]
    pub(super) unsafe fn new(data: &'a [u8], parts: &'a Parts, block: usize) -> Self {
        let (start, low_start) = (block * parts.block_bytes, block * parts.low_block_bytes);
        Self { data, parts, start, low_start }
    }

    #[inline(always)]
    pub(super) fn groups(&self) -> usize {
        self.parts.groups
    }

    /// Bytes of the lines of a group.
    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    pub(super) fn group_bytes(&self) -> usize {
        self.parts.group_bytes
    }

    /// The parts of a group. If all weights are known to have four bits, so are the strides, and the kernels' loops keep
    /// to their registers.
    #[inline(always)]
    pub(super) fn group<const EIGHT: bool>(&self, group: usize) -> Group<'a> {
        let Self { data, parts: Parts { first, groups, group_bytes, .. }, start, low_start } = *self;
        assert!(group < *groups, "group {group} of {groups}");
        let place = |part: Places, stride: usize| {
            start + part.first + group * if EIGHT { part.stride } else { stride }
        };
        // SAFETY: the last group lies within `data` by the promise of `new`, and places ascend with the group.
        unsafe {
            let part = |first: usize, bytes: usize| data.get_unchecked(first..first + bytes);
            let quads = |first: usize| part(first, *group_bytes).as_chunks().0.as_chunks().0;
            Group {
                scales: &*part(place(first.scales, size_of::<Scales>()), size_of::<Scales>()).as_ptr().cast(),
                zeros: &*part(place(first.zeros, size_of::<Zeros>()), size_of::<Zeros>()).as_ptr().cast(),
                quads: quads(place(first.lines, *group_bytes)),
                low_quads: if EIGHT { quads(low_start + first.low_lines.of(group)) } else { &[] },
            }
        }
    }
}
