//! Which operations come next: what the streams may read ahead.
//!
//! A forward pass needs its matrices in the order of the program, and where the accelerator does attention, keys and values
//! between them. What follows its end (another token, another piece of a prompt, more rows of the head) is taken to be
//! what followed last time. A wrong guess costs a soft reset and the bytes that were read, never a wrong result.

use std::collections::HashMap;

/// What an operation multiplies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// The matrix of this number in the program.
    Matrix(usize),
    /// The keys of all heads of a layer.
    Keys(usize),
    /// The values of all heads of a layer.
    Values(usize),
}

/// An operation for so many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) work: Work,
    pub(super) tokens: usize,
}

/// Predicts steps from the steps so far.
#[derive(Debug)]
pub(super) struct Order {
    matrices: usize,
    has_head: bool,
    /// The accelerator does the attention of single tokens, and of more.
    pub(super) attention: [bool; 2],
    last: Option<Step>,
    /// What followed, where it was not what [`Self::usual`] says.
    learned: HashMap<Step, Step>,
}

impl Order {
    /// The order of a program of so many matrices, the last of which may be the head.
    pub(super) fn new(matrices: usize, has_head: bool) -> Self {
        Self { matrices, has_head, attention: [false; 2], last: None, learned: HashMap::new() }
    }

    /// A step begins.
    pub(super) fn saw(&mut self, step: Step) {
        if let Some(last) = self.last.replace(step) {
            if self.usual(last) == step {
                self.learned.remove(&last);
            } else {
                self.learned.insert(last, step);
            }
        }
    }

    /// The step after `step`.
    pub(super) fn after(&self, step: Step) -> Step {
        self.learned.get(&step).copied().unwrap_or_else(|| self.usual(step))
    }

    /// Forgets the last step: what comes next follows nothing.
    pub(super) fn interrupt(&mut self) {
        self.last = None;
    }

    fn usual(&self, Step { work, tokens }: Step) -> Step {
        let is_head = |matrix: usize| self.has_head && matrix + 1 == self.matrices;
        let matrix = match work {
            Work::Matrix(qkv)
                if self.attention[usize::from(1 < tokens)] && qkv.is_multiple_of(4) && !is_head(qkv) =>
            {
                return Step { work: Work::Keys(qkv / 4), tokens };
            }
            Work::Matrix(matrix) => matrix,
            Work::Keys(layer) => return Step { work: Work::Values(layer), tokens },
            Work::Values(layer) => 4 * layer,
        };
        let next = (matrix + 1) % self.matrices;
        // The head is wanted for one token, and then that token is computed.
        let tokens = if is_head(matrix) || is_head(next) { 1 } else { tokens };
        Step { work: Work::Matrix(next), tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(matrix: usize, tokens: usize) -> Step {
        Step { work: Work::Matrix(matrix), tokens }
    }

    fn after(order: &Order, first: Step, count: usize) -> Vec<Step> {
        std::iter::successors(Some(first), |&step| Some(order.after(step))).skip(1).take(count).collect()
    }

    #[test]
    fn a_prompt_then_tokens() {
        let order = Order::new(5, true);
        let expected = [step(1, 9), step(2, 9), step(3, 9), step(4, 1), step(0, 1), step(1, 1)];
        assert_eq!(after(&order, step(0, 9), 6), expected);
    }

    #[test]
    fn attention_comes_between_the_matrices_of_single_tokens() {
        let order = Order { attention: [true, false], ..Order::new(5, true) };
        let of = |work| Step { work, tokens: 1 };
        let expected = [
            of(Work::Keys(0)),
            of(Work::Values(0)),
            step(1, 1),
            step(2, 1),
            step(3, 1),
            step(4, 1),
            step(0, 1),
        ];
        assert_eq!(after(&order, step(0, 1), 7), expected);
        assert_eq!(order.after(step(0, 2)), step(1, 2));
    }

    #[test]
    fn what_happened_once_is_expected_again_until_it_does_not() {
        let mut order = Order::new(5, true);
        for seen in [step(3, 1), step(4, 32), step(4, 32)] {
            order.saw(seen);
        }
        assert_eq!(after(&order, step(2, 1), 3), [step(3, 1), step(4, 32), step(4, 32)]);
        order.saw(step(0, 1));
        assert_eq!(order.after(step(4, 32)), step(0, 1));
        order.interrupt();
        order.saw(step(4, 1));
        assert_eq!(order.after(step(0, 1)), step(1, 1), "nothing is learned over an interruption");
    }
}
