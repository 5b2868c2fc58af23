//! A set of packet ids: a bit for each, as many words as the highest one needs.

#[derive(Debug, Default)]
pub(crate) struct TagSet {
    words: Vec<u64>,
    count: usize,
}

impl TagSet {
    /// Whether it was not there yet.
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        let (word, bit) = Self::place(id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(new);
        new
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        let was = self.contains(id);
        if was {
            let (word, bit) = Self::place(id);
            self.words[word] &= !bit;
            self.count -= 1;
        }
        was
    }

    pub(crate) fn contains(&self, id: u16) -> bool {
        let (word, bit) = Self::place(id);
        self.words.get(word).is_some_and(|it| it & bit != 0)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn place(id: u16) -> (usize, u64) {
        (usize::from(id / 64), 1 << (id % 64))
    }
}
