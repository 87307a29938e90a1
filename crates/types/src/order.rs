//! Sorting keys that are whole numbers: a radix sort over the bits in which they differ, byte by byte
//! from the low end.
//!
//! Keys of one table share most bits (windows of one day, sensors of one plant), so there is little to
//! sort by. It is several times as fast as comparing keys.
//!
//! Invariants: 1. equal keys stay in the order of their rows: each pass is stable.

/// The rows in the order of their keys, of equal keys the last row only.
///
/// # Panics
/// For more rows than 32 bits count.
pub fn last_of_each_key(keys: &[u128]) -> Vec<u32> {
    let runs = keys.chunk_by(|a, b| a < b).take(RUNS_MAX + 1).map(<[u128]>::len);
    let runs: Vec<usize> = runs.collect();
    if runs.len() <= RUNS_MAX {
        return merged(keys, &runs);
    }
    let varying = keys.iter().fold(0, |bits, key| bits | (key ^ keys[0]));
    let Some(fields) = fields(varying) else {
        let mut order: Vec<(u128, u32)> = keys.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let next = order.iter().skip(1).map(|(key, _)| Some(*key)).chain([None]);
        let last = order.iter().zip(next).filter(|((key, _), next)| Some(*key) != *next);
        return last.map(|((_, row), _)| *row).collect();
    };
    let narrow = |key: &u128| fields.iter().fold(0, |word, field| field.append(word, *key));
    let words: Vec<u64> = keys.iter().map(narrow).collect();
    let (words, rows) = radix_sort(words, varying.count_ones());
    let next = words.iter().skip(1).map(Some).chain([None]);
    let last = words.iter().zip(next).zip(rows).filter(|((word, next), _)| Some(*word) != *next);
    last.map(|(_, row)| row).collect()
}

/// Fewer ascending runs than this are merged, not sorted.
const RUNS_MAX: usize = 8;

/// More rows than this are worth a second thread.
const ROWS_A_THREAD: usize = if cfg!(test) { 100 } else { 1 << 17 };

/// Merges ascending runs of some lengths; of equal keys the last one stays.
fn merged(keys: &[u128], runs: &[usize]) -> Vec<u32> {
    let mut heads: Vec<(usize, usize)> = Vec::with_capacity(runs.len());
    let mut start = 0;
    for length in runs {
        heads.push((start, start + length));
        start += length;
    }
    let longest = heads.iter().max_by_key(|(start, end)| end - start);
    let Some((from, to)) = longest.filter(|_| keys.len() > ROWS_A_THREAD) else {
        return merge(keys, heads);
    };
    // Equal keys are all on one side of the middle.
    let middle = keys[from.midpoint(*to)];
    let cut = |(start, end): &(usize, usize)| {
        start + keys[*start..*end].partition_point(|key| *key < middle)
    };
    let low = heads.iter().map(|head| (head.0, cut(head))).collect();
    let high = heads.iter().map(|head| (cut(head), head.1)).collect();
    std::thread::scope(|scope| {
        let high = scope.spawn(|| merge(keys, high));
        let mut rows = merge(keys, low);
        match high.join() {
            Ok(high) => rows.extend(high),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        rows
    })
}

/// Merges what lies between starts and ends.
fn merge(keys: &[u128], mut heads: Vec<(usize, usize)>) -> Vec<u32> {
    let mut rows = Vec::with_capacity(heads.iter().map(|(start, end)| end - start).sum());
    loop {
        heads.retain(|(at, end)| at < end);
        let Some(least) = heads.iter().map(|(at, _)| keys[*at]).min() else { return rows };
        let mut last = 0;
        for (at, _) in heads.iter_mut().filter(|(at, _)| keys[*at] == least) {
            last = *at;
            *at += 1;
        }
        rows.push(u32::try_from(last).expect("rows are counted in 32 bits"));
    }
}

/// Bits of a packed key that stand side by side.
struct Field {
    shift: u32,
    bits: u32,
}

impl Field {
    fn append(&self, word: u64, key: u128) -> u64 {
        let low = u64::try_from(key >> self.shift & u128::from(u64::MAX)).expect("64 bits");
        // A field of 64 bits is the only one.
        word.checked_shl(self.bits).unwrap_or(0) | (low & (u64::MAX >> (64 - self.bits)))
    }
}

/// The bits that are set, as fields from high to low; None if they are more than a word holds, or
/// scattered.
fn fields(mut varying: u128) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    if varying.count_ones() > u64::BITS {
        return None;
    }
    while varying != 0 {
        let shift = varying.trailing_zeros();
        let bits = (varying >> shift).trailing_ones();
        varying &= u128::MAX.checked_shl(shift + bits).unwrap_or(0);
        fields.push(Field { shift, bits });
    }
    fields.reverse();
    (fields.len() <= FIELDS_MAX).then_some(fields)
}

/// More fields are not worth the time to put them together.
const FIELDS_MAX: usize = 12;

/// Words in ascending order, and the rows that they came from.
fn radix_sort(mut words: Vec<u64>, bits: u32) -> (Vec<u64>, Vec<u32>) {
    let count = u32::try_from(words.len()).expect("rows are counted in 32 bits");
    let mut rows: Vec<u32> = (0..count).collect();
    let (mut words_to, mut rows_to) = (vec![0; words.len()], vec![0; words.len()]);
    for shift in (0..bits).step_by(8) {
        let digit = |word: &u64| usize::from((word >> shift).to_le_bytes()[0]);
        let mut places = [0u32; 256];
        words.iter().for_each(|word| places[digit(word)] += 1);
        if places.contains(&count) {
            continue;
        }
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        for (word, row) in words.iter().zip(&rows) {
            let place = &mut places[digit(word)];
            words_to[*place as usize] = *word;
            rows_to[*place as usize] = *row;
            *place += 1;
        }
        std::mem::swap(&mut words, &mut words_to);
        std::mem::swap(&mut rows, &mut rows_to);
    }
    (words, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_keys_sort_by_value_wherever_their_bits_differ() {
        let spread = |n: u128| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let masks = [0, 1, 0xff, u128::MAX, 0xff << 120, (0xfff << 80) | 0xfffff, 0x5555 << 60];
        for mask in masks.into_iter().chain([u128::from(u64::MAX), u128::from(u64::MAX) << 33]) {
            let keys: Vec<u128> = (0..600).map(|n| (spread(n % 450) & mask) | (7 << 70)).collect();
            check(&keys, mask);
            for runs in [2, 3, 7] {
                let run = |n: usize| -> Vec<u128> {
                    let mut run = keys[n * 600 / runs..(n + 1) * 600 / runs].to_vec();
                    run.sort_unstable();
                    run.dedup();
                    run
                };
                check(&(0..runs).flat_map(run).collect::<Vec<_>>(), mask);
            }
        }
    }

    fn check(keys: &[u128], mask: u128) {
        let mut expected: Vec<(u128, u32)> = keys.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        expected.reverse();
        expected.dedup_by_key(|(key, _)| *key);
        expected.reverse();
        let rows: Vec<u32> = expected.into_iter().map(|(_, row)| row).collect();
        assert_eq!(last_of_each_key(keys), rows, "{mask:x}");
    }
}
