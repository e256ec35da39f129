//! Questions to one cell's standing: is what stands there ours, and what would undo it.

use super::{Line, Undo};
use crate::cell::{Cell, Reading};
use crate::record::{Ours, Target};

impl Line {
    /// Whether nobody asked for it: it came with a neighbour.
    pub fn is_side_effect(&self) -> bool {
        self.layers.iter().all(|layer| !layer.is_written)
    }

    /// Whether `text` stood there before one of our changes that is not undone.
    pub fn stood_before(&self, text: &str) -> bool {
        self.layers.iter().any(|layer| layer.from == text)
    }

    /// The value we left, when it is exactly known.
    pub fn left(&self) -> Option<&str> {
        match self.ours.as_slice() {
            [Ours::Value(value)] => Some(value),
            _ => None,
        }
    }

    /// Whether what stands there now may be there because of us.
    pub fn is_ours(&self, cell: &Cell, now: &Reading) -> bool {
        match now {
            Reading::Torn => true, // nobody sets a file to nothing
            Reading::Absent | Reading::Value { .. } => self.ours.iter().any(|ours| match ours {
                Ours::Value(value) => cell.same(value, now.text()),
                Ours::Between { from, to } => cell.on_the_way(from, to, now.text()),
                Ours::Anything => true,
            }),
        }
    }

    /// What puts back the first of the changes that `undoes` names.
    pub(super) fn undo(&self, target: &Target, undoes: &[u64]) -> Option<Undo> {
        let layer = self.layers.iter().find(|layer| undoes.contains(&layer.id))?;
        Some(Undo {
            target: target.clone(),
            line: self.clone(),
            to: layer.from.clone(),
            raw: layer.raw.clone(),
        })
    }
}
