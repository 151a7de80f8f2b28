//! From valid frames to hostile ones.

use wyrdlog_sim::draw::Draw;

/// What counts and lengths are turned into.
const LIES: [[u8; 4]; 7] = [
    [0, 0, 0, 0],
    [0xff, 0xff, 0xff, 0xff],
    [0x7f, 0xff, 0xff, 0xff],
    [0x80, 0, 0, 0],
    [0, 0, 0xff, 0xff],
    [0, 0x10, 0, 0],
    [0xff, 0xff, 0xff, 0x07],
];

/// `frame`, or something near it, with its length in front: mostly the right one.
pub fn hostile(frame: &[u8], other: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    for _ in 0..draw.between(1, 3) {
        mutate(&mut bytes, other, draw);
    }
    let length = bytes.len() as u32;
    let announced = match draw.below(40) {
        0 => length + draw.between(1, 50) as u32,
        1 => length.saturating_sub(draw.between(1, 50) as u32),
        2 => u32::from_be_bytes(draw.pick(&LIES).copied().unwrap_or_default()),
        _ => length,
    };
    [&announced.to_be_bytes()[..], &bytes].concat()
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], draw: &mut Draw) {
    let at = draw.below(bytes.len() as u64) as usize;
    match draw.below(8) {
        0 => bytes.truncate(at),
        1 => bytes.extend((0..draw.between(1, 40)).map(|_| 0)),
        2 | 3 => {
            let lie = draw.pick(&LIES).copied().unwrap_or_default();
            bytes.iter_mut().skip(at).zip(lie).for_each(|(byte, lie)| *byte = lie);
        }
        4 => bytes.truncate(at + other.len().min(8)),
        5 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[other.len().min(at)..]);
        }
        6 => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = draw.number() as u8),
        _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << draw.below(8)),
    }
}
