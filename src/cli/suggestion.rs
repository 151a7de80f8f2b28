//! What a person probably meant, by edit distance.

/// Insertions, deletions, replacements and swaps of neighbours that turn `from` into `to`, capital
/// letters being the same as small ones (Damerau-Levenshtein, optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
    let (from, to) = (letters(from), letters(to));
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

/// The candidate that is nearest to `given`, if it is near enough to be meant: at most a third of
/// the letters differ. Of two that are equally near, the first.
pub(super) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (given.chars().count() / 3).max(1);
    let measured = candidates.into_iter().map(|candidate| (distance(given, candidate), candidate));
    measured.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("tickTiem", "ticktime", 1),
            ("clientPort", "clientport", 0),
        ] {
            assert_eq!((distance(from, to), distance(to, from)), (expected, expected), "{from} {to}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["tickTime", "dataDir", "clientPort"];
        assert_eq!(nearest("tikTime", known), Some("tickTime"));
        assert_eq!(nearest("data.dir", known), Some("dataDir"));
        assert_eq!(nearest("quorum", known), None);
    }
}
