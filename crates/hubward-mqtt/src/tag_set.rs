//! A set of packet ids, with one bit for each id. The memory of the set grows with the highest id.

#[derive(Debug, Default)]
pub(crate) struct TagSet {
    words: Vec<u64>,
    count: usize,
}

impl TagSet {
    /// Adds an id. Returns `false` if the set already contains it.
    #[inline]
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        let (place, bit) = Self::place(id);
        if place >= self.words.len() {
            self.words.resize(place + 1, 0);
        }
        let word = &mut self.words[place];
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }

    /// Removes an id. Returns `false` if the set does not contain it.
    #[inline]
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        let (place, bit) = Self::place(id);
        match self.words.get_mut(place) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                self.count -= 1;
                true
            }
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn contains(&self, id: u16) -> bool {
        let (word, bit) = Self::place(id);
        self.words.get(word).is_some_and(|it| it & bit != 0)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    fn place(id: u16) -> (usize, u64) {
        (usize::from(id / 64), 1 << (id % 64))
    }
}
