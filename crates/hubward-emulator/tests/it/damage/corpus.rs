//! A reproducible list of damages to a file.

use fastrand::Rng;

/// The page size of the file.
const PAGE: usize = 4096;

/// Size of the header. The header points to two commits.
const HEADER: usize = 320;

/// A damaged file with a description of the damage.
pub(super) struct Damaged {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Returns damaged variants of the file `whole`. `earlier` is a copy of this file that was made some commits earlier.
pub(super) fn of(whole: &[u8], earlier: &[u8]) -> Vec<Damaged> {
    let mut corpus = Corpus { whole, all: Vec::new(), rng: Rng::with_seed(0x68756277617264) };
    corpus.bits();
    corpus.pages();
    corpus.ends();
    corpus.earlier(earlier);
    corpus.all
}

struct Corpus<'a> {
    whole: &'a [u8],
    all: Vec<Damaged>,
    rng: Rng,
}

impl Corpus<'_> {
    fn add(&mut self, name: String, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.whole.to_vec();
        damage(&mut bytes);
        // A variant that equals the file is not damaged.
        if bytes != self.whole {
            self.all.push(Damaged { name, bytes });
        }
    }

    /// The pages that are not empty.
    fn used(&self) -> Vec<usize> {
        let is_used = |page: &usize| self.whole[page * PAGE..].iter().take(PAGE).any(|it| *it != 0);
        (0..self.whole.len() / PAGE).filter(is_used).collect()
    }

    fn bits(&mut self) {
        // Byte 9 of the header contains flags. They say which of the two commits is valid, and whether the file was
        // closed.
        for bit in 0..8 {
            self.add(format!("bit {bit} of the flags"), |bytes| bytes[9] ^= 1 << bit);
        }
        for _ in 0..16 {
            let (at, bit) = (self.rng.usize(..HEADER), self.rng.u8(..8));
            self.add(format!("bit {bit} of byte {at} in the header"), |bytes| bytes[at] ^= 1 << bit);
        }
        let used = self.used();
        for _ in 0..28 {
            let (at, bit) = (self.rng.choice(&used).expect("some") * PAGE + self.rng.usize(..PAGE), self.rng.u8(..8));
            self.add(format!("bit {bit} of byte {at}"), |bytes| bytes[at] ^= 1 << bit);
        }
    }

    fn pages(&mut self) {
        self.add("the first page zeroed".to_owned(), |bytes| bytes[..PAGE].fill(0));
        let used = self.used();
        let (mut left, mut right) = (used.clone(), used);
        self.rng.shuffle(&mut left);
        self.rng.shuffle(&mut right);
        for (one, other) in left.into_iter().zip(right).filter(|(one, other)| one != other && *one != 0).take(10) {
            let (at, from) = (one * PAGE, other * PAGE);
            self.add(format!("page {one} zeroed"), |bytes| bytes[at..at + PAGE].fill(0));
            self.add(format!("page {other} also in place of page {one}"), |bytes| {
                bytes.copy_within(from..from + PAGE, at);
            });
            self.add(format!("pages {one} and {other} swapped"), |bytes| {
                let page = bytes[at..at + PAGE].to_vec();
                bytes.copy_within(from..from + PAGE, at);
                bytes[from..from + PAGE].copy_from_slice(&page);
            });
            let mut garbage = [0; PAGE];
            self.rng.fill(&mut garbage);
            self.add(format!("garbage in place of page {one}"), |bytes| bytes[at..at + PAGE].copy_from_slice(&garbage));
            self.add(format!("sector 3 of page {one} zeroed"), |bytes| bytes[at + 1536..at + 2048].fill(0));
        }
    }

    fn ends(&mut self) {
        let length = self.whole.len();
        for cut in [1, PAGE, 3 * PAGE, length / 4, length / 2, length - 2 * PAGE, length - PAGE, length - HEADER] {
            self.add(format!("the last {cut} bytes gone"), |bytes| bytes.truncate(length - cut));
            self.add(format!("the last {cut} bytes zeroed"), |bytes| bytes[length - cut..].fill(0));
        }
        self.add("cut inside of the header".to_owned(), |bytes| bytes.truncate(100));
        self.add("everything gone".to_owned(), |bytes| bytes.clear());
        self.add("a page more at the end".to_owned(), |bytes| bytes.resize(length + PAGE, 0));
        self.add("a byte more at the end".to_owned(), |bytes| bytes.push(0));
    }

    /// Replaces parts of the file by their earlier content.
    fn earlier(&mut self, earlier: &[u8]) {
        self.add("the header of an earlier copy".to_owned(), |bytes| {
            bytes[..HEADER].copy_from_slice(&earlier[..HEADER]);
        });
        let shared = self.whole.len().min(earlier.len());
        let of = |bytes: &[u8], page: usize| bytes[page * PAGE..(page + 1) * PAGE].to_vec();
        let mut changed: Vec<usize> =
            (1..shared / PAGE).filter(|page| of(earlier, *page) != of(self.whole, *page)).collect();
        self.rng.shuffle(&mut changed);
        for page in changed.into_iter().take(14) {
            let (at, before) = (page * PAGE, of(earlier, page));
            self.add(format!("page {page} of an earlier copy"), |bytes| {
                bytes[at..at + PAGE].copy_from_slice(&before);
            });
        }
        self.add("the earlier copy".to_owned(), |bytes| *bytes = earlier.to_vec());
    }
}
