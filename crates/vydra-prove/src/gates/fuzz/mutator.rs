//! What chance makes of good and hostile inputs, from a seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Numbers at the ends of their ranges.
const EDGES: [u32; 12] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];
/// Changes of one input.
const MOST: u32 = 8;

#[derive(Debug)]
pub(super) struct Mutator<'a> {
    random: StdRng,
    seeds: &'a [Vec<u8>],
    words: &'a [&'a [u8]],
}

impl<'a> Mutator<'a> {
    pub(super) fn new(seed: u64, seeds: &'a [Vec<u8>], words: &'a [&'a [u8]]) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            seeds,
            words,
        }
    }

    /// One of the seeds with some changes, at most so long.
    pub(super) fn next(&mut self, longest: usize) -> Vec<u8> {
        let mut input = self.seed().to_vec();
        for _ in 0..self.random.random_range(1..=MOST) {
            self.change(&mut input);
        }
        input.truncate(longest);
        input
    }

    fn seed(&mut self) -> &'a [u8] {
        self.seeds
            .choose(&mut self.random)
            .map_or(&[], Vec::as_slice)
    }

    fn place(&mut self, input: &[u8]) -> usize {
        self.random.random_range(0..=input.len())
    }

    /// A part of it: mostly short.
    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(input);
        let most = if self.random.random_bool(0.2) {
            input.len()
        } else {
            16
        };
        let length = self.random.random_range(0..=most.min(input.len() - start));
        start..start + length
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input);
        let start = range.start;
        match self.random.random_range(0..10) {
            0 => {
                if let Some(byte) = input.get_mut(start) {
                    *byte ^= 1 << self.random.random_range(0..8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(start) {
                    *byte = self.random.random();
                }
            }
            2 => input.truncate(start),
            3 => drop(input.drain(range)),
            4 => {
                let part = input[range].to_vec();
                for _ in 0..self.random.random_range(1..=4) {
                    input.splice(start..start, part.iter().copied());
                }
            }
            // The end of another one.
            5 => {
                let other = self.seed();
                let from = self.place(other);
                input.splice(start.., other[from..].iter().copied());
            }
            6 => {
                let bytes: [u8; 4] = self.random.random();
                input.splice(start..start, bytes);
            }
            7 => self.number(input, start),
            _ => {
                let word = self.words.choose(&mut self.random).copied();
                let over = if self.random.random() {
                    start
                } else {
                    range.end
                };
                input.splice(start..over, word.unwrap_or_default().iter().copied());
            }
        }
    }

    /// Over what stands there, in one of the ways in which formats write numbers.
    fn number(&mut self, input: &mut [u8], start: usize) {
        let edge = EDGES.choose(&mut self.random).copied().unwrap_or_default();
        let bytes = match self.random.random_range(0..3) {
            0 => edge.to_be_bytes().to_vec(),
            1 => edge.to_le_bytes().to_vec(),
            // The low half, big end first.
            _ => edge.to_be_bytes()[2..].to_vec(),
        };
        for (place, byte) in input.iter_mut().skip(start).zip(bytes) {
            *place = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_another_one_others() {
        let seeds = [b"GET / HTTP/1.1".to_vec(), b"\x89PNG".to_vec()];
        let words: [&[u8]; 2] = [b"word", b"\xff\xd8"];
        let made = |seed| {
            let mut mutator = Mutator::new(seed, &seeds, &words);
            (0..500).map(|_| mutator.next(40)).collect::<Vec<_>>()
        };
        let first = made(1);
        assert_eq!(first, made(1));
        assert_ne!(first, made(2));
        assert!(first.iter().all(|input| input.len() <= 40));
        let has_word = |input: &&Vec<u8>| input.windows(4).any(|part| part == b"word");
        assert!(first.iter().filter(has_word).count() > 50);
    }

    #[test]
    fn nothing_to_begin_with_is_something_to_begin_with() {
        let mut mutator = Mutator::new(1, &[], &[]);
        assert!((0..500).any(|_| !mutator.next(100).is_empty()));
    }
}
