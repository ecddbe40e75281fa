//! Random bytes, handed in.

/// A source of unpredictable bytes. Production hands in the operating system's; tests hand in a seeded one.
pub trait Random: Send + Sync + std::fmt::Debug {
    fn fill(&self, bytes: &mut [u8]);
}

/// Letters and digits that are hard to guess: `length` characters of about 5.95 bits each.
pub fn letters_and_digits(random: &dyn Random, length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // 248 is the largest multiple of 62 in a byte: taking only bytes below it keeps every character equally likely.
    const UNBIASED_BELOW: u8 = 248;
    let mut text = String::with_capacity(length);
    let mut buffer = [0_u8; 64];
    while text.len() < length {
        random.fill(&mut buffer);
        let wanted = length - text.len();
        text.extend(
            buffer
                .iter()
                .filter(|byte| **byte < UNBIASED_BELOW)
                .take(wanted)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 62)])),
        );
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Counts upwards from a seed: enough to make ids differ.
    #[derive(Debug)]
    pub(crate) struct Counting(pub(crate) Mutex<u64>);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            let mut state = self.0.lock().unwrap();
            for byte in bytes {
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                *byte = (*state >> 56) as u8;
            }
        }
    }

    #[test]
    fn has_the_asked_length_and_alphabet() {
        let random = Counting(Mutex::new(1));
        for length in [0, 1, 27, 200] {
            let text = letters_and_digits(&random, length);
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }
}
