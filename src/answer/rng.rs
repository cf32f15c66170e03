//! Pseudo-random numbers for the order of records and the choice between CNAMEs.

/// A pseudo-random number generator (SplitMix64); not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; the probabilities of any two differ by at most 2^-48.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        // The upper half of 128 bits always fits.
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Calls `swap` with pairs of positions below `len`, so that every order is equally likely (Fisher and Yates).
    pub fn shuffle(&mut self, len: usize, mut swap: impl FnMut(usize, usize)) {
        for last in (1..len).rev() {
            swap(last, usize::try_from(self.below(last as u64 + 1)).unwrap_or(0));
        }
    }
}
