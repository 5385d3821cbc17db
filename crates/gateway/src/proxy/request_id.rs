//! Request ids: random UUIDs (RFC 9562, version 4). They tell requests apart in logs; nothing secret hangs on them.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use http::HeaderValue;

thread_local! {
    /// Seeded by the operating system once a thread (that is where `RandomState` takes its keys from).
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
}

pub(super) fn generate() -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = (next(), next());
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let mut text = [b'-'; 36];
    let mut digits = (0..32).map(|at| if at < 16 { high >> (60 - 4 * at) } else { low >> (124 - 4 * at) });
    for (at, place) in text.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            *place = HEX[(digits.next().unwrap_or_default() & 0xf) as usize];
        }
    }
    // Hexadecimal digits and hyphens are valid; the fallback is never seen.
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

/// SplitMix64.
fn next() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}
