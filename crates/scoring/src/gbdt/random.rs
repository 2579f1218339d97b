/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers from the same seed in every build, which no general-purpose
/// generator promises across its versions.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Each of `0..n` with probability `fraction`, ascending.
    pub(crate) fn bernoulli(&mut self, n: usize, fraction: f64) -> Vec<u32> {
        (0..n as u32).filter(|_| fraction >= 1.0 || self.uniform() < fraction).collect()
    }

    /// The given share of `0..n`, at least one, ascending.
    pub(crate) fn choose(&mut self, n: usize, fraction: f64) -> Vec<usize> {
        let wanted = ((n as f64 * fraction).ceil() as usize).clamp(1, n.max(1)).min(n);
        let mut all: Vec<usize> = (0..n).collect();
        for i in 0..wanted {
            let j = i + (self.uniform() * (n - i) as f64) as usize;
            all.swap(i, j);
        }
        all.truncate(wanted);
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_choice_is_of_distinct_members_in_order() {
        let mut random = Random::new(7);
        let chosen = random.choose(50, 0.8);
        assert_eq!(chosen.len(), 40);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(chosen.iter().all(|&i| i < 50));
    }
}
