//! Which slots changed since the last hand-over, and how many were touched.

/// One bit a slot: changed since the last hand-over.
#[derive(Debug, Default)]
pub(in crate::operators) struct Marks {
    words: Vec<u64>,
    /// How many slots were read or written, counted each time.
    touched: u64,
}

impl Marks {
    /// Marks a slot.
    pub(in crate::operators) fn set(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % 64);
        self.count(1);
    }

    /// Counts slots that were read or written.
    pub(in crate::operators) fn count(&mut self, slots: usize) {
        self.touched += u64::try_from(slots).expect("a count of slots");
    }

    /// Takes the mark away.
    pub(in crate::operators) fn unset(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// The marked slots, ascending; no slot is marked afterwards.
    pub(in crate::operators) fn drain(&mut self) -> Vec<u32> {
        let mut slots = Vec::new();
        for (base, word) in (0u32..).step_by(64).zip(&mut self.words) {
            let mut rest = std::mem::take(word);
            while rest != 0 {
                slots.push(base + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        self.count(slots.len());
        slots
    }

    /// Gives memory back; no slot is marked.
    pub(in crate::operators) fn shrink(&mut self) {
        assert!(self.words.iter().all(|word| *word == 0), "what has changed is handed over first");
        self.words = Vec::new();
    }

    /// State slots read and written so far.
    pub(in crate::operators) fn touched(&self) -> u64 {
        self.touched
    }

    /// Bytes in memory.
    pub(in crate::operators) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}
