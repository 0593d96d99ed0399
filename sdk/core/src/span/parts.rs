//! Events or links of a span: written one behind the other, the newest kept.

use smallvec::SmallVec;

/// Encoded parts, of which at most so many are kept.
#[derive(Debug)]
pub(super) struct Parts {
    bytes: Vec<u8>,
    /// Where each part ends, also those before `first`.
    ends: SmallVec<[usize; 4]>,
    /// The oldest that is kept.
    first: usize,
    dropped: u32,
    most: usize,
}

impl Parts {
    pub(super) fn new(most: usize) -> Parts {
        Parts {
            bytes: Vec::new(),
            ends: SmallVec::new(),
            first: 0,
            dropped: 0,
            most,
        }
    }

    /// Adds what `write` writes, in place of the oldest where there are too many.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.most == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        if self.ends.len() - self.first >= self.most {
            self.first += 1;
            self.dropped = self.dropped.saturating_add(1);
            self.tidy();
        }
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Gives back what was dropped once it is as much as what is kept, so that each part is moved once at most.
    fn tidy(&mut self) {
        if self.first < self.most {
            return;
        }
        let gone = self.start();
        self.bytes.drain(..gone);
        self.ends.drain(..self.first);
        self.ends.iter_mut().for_each(|end| *end -= gone);
        self.first = 0;
    }

    fn start(&self) -> usize {
        match self.first.checked_sub(1) {
            Some(last_gone) => self.ends[last_gone],
            None => 0,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start()..]
    }

    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        let mut parts = Parts::new(3);
        for n in 0..100u8 {
            parts.add(|out| out.extend(std::iter::repeat_n(n, usize::from(n % 3) + 1)));
            let kept: Vec<u8> = (n.saturating_sub(2)..=n)
                .flat_map(|n| std::iter::repeat_n(n, usize::from(n % 3) + 1))
                .collect();
            assert_eq!(parts.as_bytes(), kept);
            assert!(parts.bytes.len() <= 18, "what is dropped is given back");
        }
        assert_eq!(parts.dropped(), 97);
        let mut none = Parts::new(0);
        none.add(|out| out.push(1));
        assert_eq!((none.as_bytes(), none.dropped()), (&[][..], 1));
    }
}
