//! Which operations come next: what the streams may read ahead.
//!
//! A forward pass needs its matrices in the order of the program, each as often as it has passes of tokens. What follows
//! its end (another token, another piece of a prompt, more rows of the head) is taken to be what followed last time.
//! A wrong guess costs a soft reset and the bytes that were read, never a wrong result.

use std::collections::HashMap;

/// A call of a linear layer: the number of the operation, and how many passes over its matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) operation: usize,
    pub(super) passes: usize,
}

/// Predicts calls from the calls so far.
#[derive(Debug)]
pub(super) struct Order {
    operations: usize,
    has_head: bool,
    last: Option<Step>,
    /// What followed, where it was not what [`Self::usual`] says.
    learned: HashMap<Step, Step>,
}

impl Order {
    /// The order of a program of so many operations, the last of which may be the head.
    pub(super) fn new(operations: usize, has_head: bool) -> Self {
        Self { operations, has_head, last: None, learned: HashMap::new() }
    }

    /// A call begins.
    pub(super) fn saw(&mut self, step: Step) {
        if let Some(last) = self.last.replace(step) {
            if self.usual(last) == step {
                self.learned.remove(&last);
            } else {
                self.learned.insert(last, step);
            }
        }
    }

    /// The call that runs.
    pub(super) fn last(&self) -> Option<Step> {
        self.last
    }

    /// The calls after `step`, without end.
    pub(super) fn after(&self, step: Step) -> impl Iterator<Item = Step> + '_ {
        std::iter::successors(Some(step), |&step| {
            Some(self.learned.get(&step).copied().unwrap_or_else(|| self.usual(step)))
        })
        .skip(1)
    }

    /// Forgets the last call: what comes next follows nothing.
    pub(super) fn interrupt(&mut self) {
        self.last = None;
    }

    fn usual(&self, step: Step) -> Step {
        let next = step.operation + 1;
        let is_head = |operation: usize| self.has_head && operation + 1 == self.operations;
        if is_head(step.operation) || is_head(next) {
            // The head is wanted for one token, and then that token is computed.
            Step { operation: next % self.operations, passes: 1 }
        } else {
            Step { operation: next % self.operations, passes: step.passes }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(operation: usize, passes: usize) -> Step {
        Step { operation, passes }
    }

    #[test]
    fn a_prompt_then_tokens() {
        let order = Order::new(3, true);
        let found: Vec<_> = order.after(step(0, 4)).take(4).collect();
        assert_eq!(found, [step(1, 4), step(2, 1), step(0, 1), step(1, 1)]);
    }

    #[test]
    fn what_happened_once_is_expected_again_until_it_does_not() {
        let mut order = Order::new(3, true);
        for seen in [step(1, 1), step(2, 4), step(2, 4)] {
            order.saw(seen);
        }
        let found: Vec<_> = order.after(step(0, 1)).take(3).collect();
        assert_eq!(found, [step(1, 1), step(2, 4), step(2, 4)]);
        order.saw(step(0, 1));
        assert_eq!(order.after(step(2, 4)).next(), Some(step(0, 1)));
        order.interrupt();
        order.saw(step(2, 1));
        assert_eq!(
            order.after(step(0, 1)).next(),
            Some(step(1, 1)),
            "nothing is learned over an interruption"
        );
    }
}
